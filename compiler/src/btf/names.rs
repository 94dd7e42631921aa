//! From names to types, functions and enumerators.
//!
//! An index is made by the first look-up that needs it: a kernel has some 20,000 named types, as
//! many enumerators and 60,000 functions. It holds numbers only; names stay in the BTF's strings.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering::Relaxed;

use super::Btf;
use super::records::{Head, Kind};
use crate::diagnostic::similar;

/// So many functions are searched for before an index of them is made.
const MAX_SEARCHES: u32 = 4;

/// What something is found by: its name space and its name.
type Key<'a> = (Option<Kind>, &'a [u8]);

/// An open-addressed hash table of numbers; what they are called is kept elsewhere. Of several
/// numbers with one key, the first counts.
pub struct NameIndex {
    seed: u64,
    /// Hash, and number + 1 or 0 for an empty slot. The length is a power of two, at most half used.
    slots: Vec<(u32, u32)>,
}

impl NameIndex {
    /// Indexes the numbers by the keys that `key_of` gives.
    fn new<'a>(numbers: &[u32], key_of: impl Fn(u32) -> Key<'a>) -> NameIndex {
        let slots = vec![(0, 0); (numbers.len() * 2 + 1).next_power_of_two()];
        // A seed of its own for each table: crafted names cannot be made to collide.
        let mut index = NameIndex { seed: RandomState::new().hash_one(0), slots };
        for number in numbers {
            let key = key_of(*number);
            let (slot, hash) = index.slot(key, &key_of);
            if index.slots[slot].1 == 0 {
                index.slots[slot] = (hash, number + 1);
            }
        }
        index
    }

    /// The number of this key.
    fn find<'a>(&self, key: Key<'a>, key_of: impl Fn(u32) -> Key<'a>) -> Option<u32> {
        self.slots[self.slot(key, &key_of).0].1.checked_sub(1)
    }

    /// Where the key is, or the empty slot where it would be, and its hash.
    fn slot<'a>(&self, key: Key<'a>, key_of: &impl Fn(u32) -> Key<'a>) -> (usize, u32) {
        let mask = self.slots.len() - 1;
        let hash = hash(self.seed, key);
        let mut slot = hash as usize & mask;
        loop {
            match self.slots[slot] {
                (_, 0) => return (slot, hash),
                (other, number) if other == hash && key_of(number - 1) == key => return (slot, hash),
                _ => slot = (slot + 1) & mask,
            }
        }
    }
}

/// A multiplicative hash: names are short and there are many of them.
fn hash(seed: u64, (kind, name): Key<'_>) -> u32 {
    let mix = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * 0x9e37_79b9_7f4a_7c15;
        (product >> 64) as u64 ^ product as u64
    };
    let mut hash = mix(seed, kind.map_or(0, |k| k as u64) << 32 | name.len() as u64);
    for chunk in name.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mix(hash, u64::from_ne_bytes(word));
    }
    (hash >> 32) as u32
}

/// All enumerators, by name.
pub struct Enumerators {
    /// (name's place in the strings, value, the enum's id)
    all: Vec<(u32, i64, u32)>,
    index: NameIndex,
}

impl Btf {
    /// The struct of this tag.
    pub fn struct_named(&self, name: &str) -> Option<u32> {
        self.type_named(Kind::Struct, name)
    }

    /// The union of this tag.
    pub fn union_named(&self, name: &str) -> Option<u32> {
        self.type_named(Kind::Union, name)
    }

    /// The enum of this tag.
    pub fn enum_named(&self, name: &str) -> Option<u32> {
        self.type_named(Kind::Enum, name)
    }

    /// The typedef of this name.
    pub fn typedef_named(&self, name: &str) -> Option<u32> {
        self.type_named(Kind::Typedef, name)
    }

    /// The enumerator of this name: its value and its enum's id.
    pub fn enumerator(&self, name: &str) -> Option<(i64, u32)> {
        let enumerators = self.enumerators();
        let found =
            enumerators.index.find((None, name.as_bytes()), |i| self.enumerator_key(&enumerators.all, i));
        match found.and_then(|found| enumerators.all.get(found as usize)) {
            Some((_, value, id)) => Some((*value, *id)),
            None => self.base()?.enumerator(name),
        }
    }

    /// The enumerators of the enum of this tag, in order; empty if there is no such enum.
    pub fn enum_values(&self, name: &str) -> Vec<(String, i64)> {
        self.enum_named(name).map(|id| self.enum_values_of(id)).unwrap_or_default()
    }

    /// The enumerators of an enum, in order; empty if it is none.
    pub fn enum_values_of(&self, id: u32) -> Vec<(String, i64)> {
        let record = self.record(self.resolve(id));
        let values =
            record.map(|r| r.enumerators().map(|(name, value)| (self.string(name).to_owned(), value)));
        values.map(Iterator::collect).unwrap_or_default()
    }

    /// Names of structs and unions that are close to this one, closest first.
    pub fn similar_types(&self, name: &str) -> Vec<String> {
        self.similar_names(name, |kind| matches!(kind, Kind::Struct | Kind::Union))
    }

    /// Names of typedefs and enums that are close to this one, closest first.
    pub fn similar_typedefs(&self, name: &str) -> Vec<String> {
        self.similar_names(name, |kind| matches!(kind, Kind::Typedef | Kind::Enum | Kind::Enum64))
    }

    /// Names of functions that are close to this one, closest first.
    pub fn similar_functions(&self, name: &str) -> Vec<String> {
        self.similar_names(name, |kind| kind == Kind::Func)
    }

    /// Names of enumerators that are close to this one, closest first.
    pub fn similar_enumerators(&self, name: &str) -> Vec<String> {
        let own = similar(name, self.enumerators().all.iter().map(|(offset, _, _)| self.string(*offset)));
        self.or_of_base(own, |base| base.similar_enumerators(name))
    }

    /// Names of this BTF itself, then those of its base.
    fn or_of_base(&self, mut own: Vec<String>, of_base: impl FnOnce(&Btf) -> Vec<String>) -> Vec<String> {
        own.extend(self.base().map(of_base).unwrap_or_default());
        own
    }

    /// The ids of all structs, unions, enums and typedefs with a name, in the BTF's order.
    pub fn named_types(&self) -> Vec<u32> {
        let mut ids = self.base().map(Btf::named_types).unwrap_or_default();
        ids.extend(self.own_named_types());
        ids
    }

    fn own_named_types(&self) -> Vec<u32> {
        self.ids_of(|kind| tag(kind).is_some_and(|t| t != Kind::Func))
    }

    /// Names of all functions, sorted.
    pub fn function_names(&self) -> Vec<&str> {
        let mut names: BTreeSet<&str> = self.own_function_names().collect();
        names.extend(self.base().map(Btf::function_names).unwrap_or_default());
        names.into_iter().collect()
    }

    /// Names of the functions of this BTF itself, not of what it is on top of, sorted.
    pub fn own_function_names(&self) -> impl Iterator<Item = &str> {
        let ids = self.ids_of(|kind| kind == Kind::Func);
        ids.into_iter().map(|id| self.name(id)).collect::<BTreeSet<&str>>().into_iter()
    }

    pub(super) fn function_named(&self, name: &str) -> Option<u32> {
        self.own_function_named(name).or_else(|| self.base()?.function_named(name))
    }

    fn own_function_named(&self, name: &str) -> Option<u32> {
        // A search costs a fifth of an index, and most scripts name one or two functions.
        let indexed = self.shared.functions.get().is_some();
        if !indexed && self.shared.function_searches.fetch_add(1, Relaxed) < MAX_SEARCHES {
            let named = |head: &Head| head.kind == Kind::Func && self.is_name(head.name, name.as_bytes());
            return self.heads().find(|(_, head)| named(head)).map(|(id, _)| id);
        }
        let index = self
            .shared
            .functions
            .get_or_init(|| NameIndex::new(&self.ids_of(|kind| kind == Kind::Func), |id| self.key(id)));
        index.find((Some(Kind::Func), name.as_bytes()), |id| self.key(id))
    }

    fn type_named(&self, kind: Kind, name: &str) -> Option<u32> {
        let own = || NameIndex::new(&self.own_named_types(), |id| self.key(id));
        let index = self.shared.types.get_or_init(own);
        let found = index.find((tag(kind), name.as_bytes()), |id| self.key(id)).filter(|_| !name.is_empty());
        found.or_else(|| self.base()?.type_named(kind, name))
    }

    fn enumerators(&self) -> &Enumerators {
        self.shared.enumerators.get_or_init(|| {
            let mut all = Vec::new();
            for id in self.ids_with(|kind| matches!(kind, Kind::Enum | Kind::Enum64)) {
                let record = self.record(id);
                all.extend(
                    record.into_iter().flat_map(|r| r.enumerators()).map(|(name, value)| (name, value, id)),
                );
            }
            let numbers: Vec<u32> = (0..all.len() as u32).collect();
            let index = NameIndex::new(&numbers, |i| self.enumerator_key(&all, i));
            Enumerators { all, index }
        })
    }

    /// What a type is found by: struct, union, enum and typedef names are apart, as in C.
    fn key(&self, id: u32) -> Key<'_> {
        self.record(id).map_or((None, &[]), |r| (tag(r.kind), self.name_bytes(r.name)))
    }

    fn enumerator_key(&self, all: &[(u32, i64, u32)], number: u32) -> Key<'_> {
        (None, all.get(number as usize).map_or(&[], |(name, _, _)| self.name_bytes(*name)))
    }

    /// The ids of this BTF's own types of some kinds that have a name.
    fn ids_of(&self, wanted: impl Fn(Kind) -> bool) -> Vec<u32> {
        self.heads().filter(|(_, head)| head.name != 0 && wanted(head.kind)).map(|(id, _)| id).collect()
    }

    fn ids_with(&self, wanted: impl Fn(Kind) -> bool) -> impl Iterator<Item = u32> {
        self.heads().filter(move |(_, head)| wanted(head.kind)).map(|(id, _)| id)
    }

    fn heads(&self) -> impl Iterator<Item = (u32, Head)> {
        let unused = usize::from(self.base().is_none());
        let records = self.shared.records.iter().zip(self.first_id()..).skip(unused);
        records.filter_map(|(start, id)| Head::at(self.bytes(), *start as usize).map(|head| (id, head)))
    }

    fn similar_names(&self, name: &str, wanted: impl Fn(Kind) -> bool) -> Vec<String> {
        let own = similar(name, self.ids_with(&wanted).map(|id| self.name(id)));
        self.or_of_base(own, |base| base.similar_names(name, wanted))
    }
}

/// The name space that a kind of type is named in, if it can be looked up.
fn tag(kind: Kind) -> Option<Kind> {
    match kind {
        Kind::Struct | Kind::Union | Kind::Enum | Kind::Typedef | Kind::Func => Some(kind),
        Kind::Enum64 => Some(Kind::Enum),
        Kind::Int
        | Kind::Ptr
        | Kind::Array
        | Kind::Fwd
        | Kind::Volatile
        | Kind::Const
        | Kind::Restrict
        | Kind::FuncProto
        | Kind::Var
        | Kind::DataSec
        | Kind::Float
        | Kind::DeclTag
        | Kind::TypeTag => None,
    }
}
