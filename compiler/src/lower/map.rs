//! The script's maps: where each is kept, and reading and writing plain values.
//!
//! ```text
//! @x = 1, @s = "a"        a global in .bss, addressed directly
//! @ = count()             a global per CPU in .bss
//! @x[k] = v               a hash map
//! @x[k] = count()         a per-CPU hash map
//! ```
//!
//! New entries of maps that are added to (`@x[k]++`, `@x[k] = count()`) are made in two steps: put
//! zeros there unless there is an entry already, look it up, add atomically. So whoever comes first,
//! no addition is lost.

use memql_grammar::ast::{BinaryOp, Span};

use crate::check::diagnostics::unsupported;
use crate::helpers;
use crate::hir::{self, Expr, MapId};
use crate::ir::{BinaryOp as IrOp, Cond, Global, MapDef, MapKind, MapRef, Type as IrType, Value, Width};
use crate::lower::Lowering;
use crate::lower::expr::{ir_type, width};
use crate::lower::memory::Place;
use crate::lower::probe::ProgramLowering;
use crate::plan::{Loss, MapPlan, MapStorage};
use crate::target::SMALL_KEY_BYTES;
use crate::types::{Agg, Type};

/// `BPF_ANY`, `BPF_NOEXIST` (include/uapi/linux/bpf.h)
const BPF_ANY: i64 = 0;
const BPF_NOEXIST: i64 = 1;

/// Where a map is kept.
#[derive(Clone, Copy, Debug)]
pub(super) enum MapHome {
    /// In an eBPF map.
    Keyed {
        /// The map.
        map: MapRef,
    },
    /// In `.bss`.
    Global {
        /// The variable: `copies` values `stride` bytes apart.
        global: Global,
        /// 1, or a power of two that is at least the number of possible CPUs.
        copies: u32,
        /// Bytes between copies.
        stride: u32,
        /// Offset in the variable of the word that says that the map was assigned.
        flag: Option<u32>,
    },
}

impl Lowering<'_> {
    /// Gives every map its place, in the order of their names.
    pub fn place_maps(&mut self) {
        let script = self.script;
        let mut ids: Vec<MapId> = script.maps.keys().collect();
        ids.sort_by(|a, b| script.maps[*a].name.cmp(&script.maps[*b].name));
        for (n, id) in ids.into_iter().enumerate() {
            let map = &script.maps[id];
            let (home, storage) = match &map.key {
                Some(key) => self.keyed(n, map, key),
                None => self.keyless(n, map),
            };
            self.homes[id] = Some(home);
            let plan =
                MapPlan { name: map.name.clone(), key: map.key.clone(), value: map.value.clone(), storage };
            self.plan_map(id, plan);
        }
    }

    fn keyed(&mut self, n: usize, map: &hir::Map, key: &Type) -> (MapHome, MapStorage) {
        if key.size() > SMALL_KEY_BYTES && !self.features().large_keys {
            self.errors.push(unsupported::key_too_large(&map.name, key, map.span));
        }
        let aggregated = matches!(map.value, Type::Agg(_));
        let kind = match map.kind {
            hir::MapKind::Auto if aggregated => MapKind::PerCpuHash,
            hir::MapKind::Auto | hir::MapKind::Hash => MapKind::Hash,
            hir::MapKind::LruHash => MapKind::LruHash,
            hir::MapKind::PerCpuHash => MapKind::PerCpuHash,
            hir::MapKind::PerCpuLruHash => MapKind::LruPerCpuHash,
        };
        let per_cpu = matches!(kind, MapKind::PerCpuHash | MapKind::LruPerCpuHash);
        let name = elf_name(n, &map.name);
        let size =
            if map.value.is_scalar() { map.value.size() } else { map.value.size().next_multiple_of(8) };
        let def = MapDef {
            name: name.clone(),
            kind,
            key_size: key.size().max(1),
            value_size: size.max(1),
            max_entries: map.max_entries,
            flags: 0,
        };
        let home = MapHome::Keyed { map: self.module.maps.push(def) };
        (home, MapStorage::Keyed { elf_name: name, per_cpu, max_entries: map.max_entries })
    }

    fn keyless(&mut self, n: usize, map: &hir::Map) -> (MapHome, MapStorage) {
        let size = map.value.size().max(1).next_multiple_of(8);
        let (copies, stride) = match map.value {
            // A cache line of its own for each CPU.
            Type::Agg(_) => (self.features().cpus.max(1).next_power_of_two(), size.next_multiple_of(64)),
            _ => (1, size),
        };
        // Aggregations show by themselves that they were assigned, except a sum, which may be zero.
        let flag = match map.value {
            Type::Agg(Agg::Sum { .. }) => Some(copies * stride),
            Type::Agg(_) => None,
            _ => Some(size),
        };
        let total = flag.map_or(copies * stride, |f| f + 8);
        let align = if copies > 1 { 64 } else { 8 };
        let global = self.global(&elf_name(n, &map.name), total, align);
        let offset = self.module.globals[global].offset;
        let home = MapHome::Global { global, copies, stride, flag };
        (home, MapStorage::Global { offset, copies, stride, set_flag: flag.map(|f| offset + f) })
    }
}

/// An identifier of at most 15 bytes, as the kernel takes for a map's name.
fn elf_name(n: usize, name: &str) -> String {
    let text: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("m{n}_{text}").chars().take(15).collect()
}

impl ProgramLowering<'_, '_> {
    pub fn home(&self, map: MapId) -> MapHome {
        self.lowering.homes[map].expect("every map has a place before programs are lowered")
    }

    fn definition(&self, map: MapId) -> &hir::Map {
        &self.lowering.script.maps[map]
    }

    /// The key's bytes in memory, as an address for helpers.
    pub fn key(&mut self, key: &Expr) -> Value {
        let place = self.place(key);
        self.b.offset_int(place.ptr, i64::from(place.off))
    }

    /// Address of a value in a keyed map, or 0.
    pub fn lookup(&mut self, map: MapRef, key: Value) -> Value {
        let object = self.b.map_object(map);
        self.b.call(helpers::MAP_LOOKUP_ELEM, &[object, key])
    }

    /// Stores a value; a refusal is counted.
    fn update(&mut self, id: MapId, map: MapRef, key: Value, value: Value) {
        let (object, flags) = (self.b.map_object(map), self.b.int(BPF_ANY));
        let status = self.b.call(helpers::MAP_UPDATE_ELEM, &[object, key, value, flags]);
        let (bad, after) = (self.b.block(), self.b.block());
        self.b.branch_int(Cond::Ne, status, 0, bad, after);
        self.b.switch_to(bad);
        self.lose(Loss::MapFull(self.lowering.plan_index[id]));
        self.b.jump(after, &[]);
        self.b.switch_to(after);
    }

    /// Address of a key's value, made of zeros if there is none. The code after runs only if there is
    /// a value; a full map is counted and goes to `full`.
    pub fn entry(&mut self, id: MapId, map: MapRef, key: Value, full: crate::ir::Block) -> Value {
        let (found, address) = self.b.block_with(IrType::Map);
        let (missing, have) = (self.b.block(), self.b.block());
        let first = self.lookup(map, key);
        self.b.branch_int(Cond::Eq, first, 0, missing, have);
        self.b.switch_to(have);
        self.b.jump(found, &[first]);
        self.b.switch_to(missing);
        let size = self.lowering.module.maps[map].value_size;
        let zeros = self.lowering.zeros(size);
        let zeros = self.b.global_addr(zeros);
        let (object, flags) = (self.b.map_object(map), self.b.int(BPF_NOEXIST));
        self.b.call(helpers::MAP_UPDATE_ELEM, &[object, key, zeros, flags]);
        let second = self.lookup(map, key);
        let (refused, made) = (self.b.block(), self.b.block());
        self.b.branch_int(Cond::Eq, second, 0, refused, made);
        self.b.switch_to(refused);
        self.lose(Loss::MapFull(self.lowering.plan_index[id]));
        self.b.jump(full, &[]);
        self.b.switch_to(made);
        self.b.jump(found, &[second]);
        self.b.switch_to(found);
        address
    }

    /// Where a map without a key has its value.
    pub fn global_place(&mut self, map: MapId) -> Place {
        let MapHome::Global { global, .. } = self.home(map) else {
            unreachable!("internal error: a map with a key used without one")
        };
        let ptr = self.b.global_addr(global);
        Place::at(ptr, 0)
    }

    /// Where a map without a key has its value, or the map itself, as a number.
    pub fn map_number(&mut self, map: MapId) -> Value {
        let address = match self.home(map) {
            MapHome::Global { global, .. } => self.b.global_addr(global),
            MapHome::Keyed { map } => self.b.map_object(map),
        };
        let number = self.b.address(address);
        self.b.cast(number, IrType::I64)
    }

    /// Notes that a map without a key was assigned.
    pub fn mark_assigned(&mut self, map: MapId) {
        if let MapHome::Global { global, flag: Some(flag), .. } = self.home(map) {
            let ptr = self.b.global_addr(global);
            let one = self.b.int(1);
            self.b.store(Width::W64, ptr, flag as i32, one);
        }
    }

    /// Reads a scalar from a map; of an aggregation, its result.
    pub fn map_scalar(&mut self, id: MapId, key: Option<&Expr>, ty: &Type) -> Value {
        if let Type::Agg(agg) = self.definition(id).value {
            return self.aggregate_result(id, agg, key);
        }
        match (self.home(id), key) {
            (MapHome::Global { .. }, None) => {
                let place = self.global_place(id);
                self.load_field(place, 0, None, ty)
            }
            (MapHome::Keyed { .. }, Some(key)) => self.map_field(id, key, 0, None, ty),
            (home, _) => unreachable!("internal error: a key where {home:?} has none, or none where it has"),
        }
    }

    /// Reads a scalar part of a key's value in place; zero if there is none.
    pub fn map_field(
        &mut self,
        id: MapId,
        key: &Expr,
        offset: u32,
        bits: Option<(u8, u8)>,
        ty: &Type,
    ) -> Value {
        let MapHome::Keyed { map } = self.home(id) else {
            unreachable!("internal error: a key where a map has none")
        };
        let key = self.key(key);
        let address = self.lookup(map, key);
        let (after, result) = self.b.block_with(ir_type(ty));
        let (found, missing) = (self.b.block(), self.b.block());
        self.b.branch_int(Cond::Ne, address, 0, found, missing);
        self.b.switch_to(found);
        let value = self.load_field(Place::at(address, 0), offset as i32, bits, ty);
        self.b.jump(after, &[value]);
        self.b.switch_to(missing);
        let zero = self.b.int(0);
        self.b.jump(after, &[zero]);
        self.b.switch_to(after);
        result
    }

    /// Reads a value that lies in memory; zeros if there is none.
    pub fn map_read(&mut self, id: MapId, key: Option<&Expr>, ty: &Type, to: Place) {
        let size = ty.size();
        match (self.home(id), key) {
            (MapHome::Global { .. }, None) => {
                let from = self.global_place(id);
                self.copy(to, from, size);
            }
            (MapHome::Keyed { map }, Some(key)) => {
                let key = self.key(key);
                let address = self.lookup(map, key);
                let (found, missing, after) = (self.b.block(), self.b.block(), self.b.block());
                self.b.branch_int(Cond::Ne, address, 0, found, missing);
                self.b.switch_to(found);
                self.copy(to, Place::at(address, 0), size);
                self.b.jump(after, &[]);
                self.b.switch_to(missing);
                self.b.mem_zero(to.ptr, to.off, size);
                self.b.jump(after, &[]);
                self.b.switch_to(after);
            }
            (home, _) => unreachable!("internal error: a key where {home:?} has none, or none where it has"),
        }
    }

    /// `@map[key] = value`
    pub fn assign_map(&mut self, id: MapId, key: Option<&Expr>, value: &Expr) {
        match (self.home(id), key) {
            (MapHome::Global { .. }, None) => {
                if value.ty.is_scalar() {
                    let value_now = self.scalar(value);
                    let place = self.global_place(id);
                    self.b.store(width(&value.ty), place.ptr, place.off, value_now);
                } else if !matches!(value.kind, hir::ExprKind::Map { map, .. } if map == id) {
                    // The value may read the map itself: built aside first.
                    let from = self.place(value);
                    let to = self.global_place(id);
                    self.copy(to, from, value.ty.size());
                }
                self.mark_assigned(id);
            }
            (MapHome::Keyed { map }, Some(key)) => {
                let from = self.value_memory(value);
                let key = self.key(key);
                let address = self.b.offset_int(from.ptr, i64::from(from.off));
                self.update(id, map, key, address);
            }
            (home, _) => unreachable!("internal error: a key where {home:?} has none, or none where it has"),
        }
    }

    /// A value's bytes, padded as the map's value size is.
    fn value_memory(&mut self, value: &Expr) -> Place {
        let size = value.ty.size();
        if value.ty.is_scalar() || size.is_multiple_of(8) {
            return self.place(value);
        }
        let place = self.temporary(&value.ty, None);
        // The last, partly used word; the value is written over its first part.
        self.b.mem_zero(place.ptr, place.off + (size / 8 * 8) as i32, 8);
        self.write(value, place);
        place
    }

    /// `@map[key] op= value`
    pub fn update_map(&mut self, id: MapId, key: Option<&Expr>, op: BinaryOp, value: &Expr) {
        match op {
            BinaryOp::Add | BinaryOp::Sub => {
                let mut amount = self.scalar(value);
                if op == BinaryOp::Sub {
                    amount = self.b.unary(crate::ir::UnaryOp::Neg, amount);
                }
                self.add_to_map(id, key, amount, false);
            }
            _ => {
                let ty = self.definition(id).value.clone();
                let operand = self.scalar(value);
                match (self.home(id), key) {
                    (MapHome::Global { .. }, None) => {
                        let place = self.global_place(id);
                        self.read_modify_write(place, op, operand, &ty);
                        self.mark_assigned(id);
                    }
                    (MapHome::Keyed { map }, Some(key)) => {
                        let key = self.key(key);
                        let after = self.b.block();
                        let address = self.entry(id, map, key, after);
                        self.read_modify_write(Place::at(address, 0), op, operand, &ty);
                        self.b.jump(after, &[]);
                        self.b.switch_to(after);
                    }
                    (home, _) => {
                        unreachable!("internal error: a key where {home:?} has none, or none where it has")
                    }
                }
            }
        }
    }

    fn read_modify_write(&mut self, place: Place, op: BinaryOp, operand: Value, ty: &Type) {
        let old = self.load_field(place, 0, None, ty);
        let new = self.apply(op, old, operand, ty);
        self.b.store(width(ty), place.ptr, place.off, new);
    }

    /// Adds to an integer in a map; gives the old value if it is wanted.
    pub fn add_to_map(
        &mut self,
        id: MapId,
        key: Option<&Expr>,
        amount: Value,
        want_old: bool,
    ) -> Option<Value> {
        let ty = self.definition(id).value.clone();
        match (self.home(id), key) {
            (MapHome::Global { .. }, None) => {
                let place = self.global_place(id);
                let old = self.add_at(place, amount, want_old, &ty);
                self.mark_assigned(id);
                old
            }
            (MapHome::Keyed { map }, Some(key)) => {
                let key = self.key(key);
                let (full, after) = (self.b.block(), self.b.block());
                let result =
                    if want_old { Some(self.b.function.add_param(after, IrType::I64)) } else { None };
                let address = self.entry(id, map, key, full);
                let old = self.add_at(Place::at(address, 0), amount, want_old, &ty);
                self.b.jump(after, old.as_slice());
                self.b.switch_to(full);
                let nothing = if want_old { vec![self.b.int(0)] } else { Vec::new() };
                self.b.jump(after, &nothing);
                self.b.switch_to(after);
                result
            }
            (home, _) => unreachable!("internal error: a key where {home:?} has none, or none where it has"),
        }
    }

    /// Adds to an integer in memory that others may add to at the same time.
    fn add_at(&mut self, place: Place, amount: Value, want_old: bool, ty: &Type) -> Option<Value> {
        let w = width(ty);
        let atomic = w.bytes() >= 4;
        if atomic && !want_old {
            self.b.atomic_add(w, place.ptr, place.off, amount);
            return None;
        }
        if atomic && self.lowering.features().atomic_fetch {
            let old = self.b.atomic_fetch_add(w, place.ptr, place.off, amount);
            return Some(self.extend(old, ty));
        }
        // The kernel has no fetching add: the sum stays exact, the value seen may be one of another CPU's.
        let old = self.load_field(place, 0, None, ty);
        if atomic {
            self.b.atomic_add(w, place.ptr, place.off, amount);
        } else {
            let new = self.b.binary(IrOp::Add, old, amount);
            self.b.store(w, place.ptr, place.off, new);
        }
        Some(old)
    }

    /// `has_key(@map, key)`
    pub fn has_key(&mut self, id: MapId, key: &Expr) -> Value {
        let MapHome::Keyed { map } = self.home(id) else {
            unreachable!("internal error: has_key() of a map without a key")
        };
        let key = self.key(key);
        let address = self.lookup(map, key);
        let (after, result) = self.b.block_with(IrType::I64);
        let (found, missing) = (self.b.block(), self.b.block());
        self.b.branch_int(Cond::Ne, address, 0, found, missing);
        for (block, value) in [(found, 1), (missing, 0)] {
            self.b.switch_to(block);
            let value = self.b.int(value);
            self.b.jump(after, &[value]);
        }
        self.b.switch_to(after);
        result
    }

    /// `delete(@map, key)`: 1 if there was one.
    pub fn delete(&mut self, id: MapId, key: Option<&Expr>) -> Value {
        match (self.home(id), key) {
            (MapHome::Keyed { map }, Some(key)) => {
                let key = self.key(key);
                let object = self.b.map_object(map);
                let status = self.b.call(helpers::MAP_DELETE_ELEM, &[object, key]);
                let zero = self.b.int(0);
                self.b.icmp(Cond::Eq, status, zero)
            }
            (MapHome::Global { global, copies, stride, flag }, None) => {
                let ptr = self.b.global_addr(global);
                let total = flag.map_or(copies * stride, |f| f + 8);
                let was = flag.map(|f| self.b.load(Width::W64, false, ptr, f as i32));
                self.b.mem_zero(ptr, 0, total);
                was.unwrap_or_else(|| self.b.int(1))
            }
            (home, _) => unreachable!("internal error: a key where {home:?} has none, or none where it has"),
        }
    }

    /// `len(@map)`: how many elements, by walking them.
    pub fn map_len(&mut self, id: MapId, span: Span) -> Value {
        match self.home(id) {
            MapHome::Global { .. } => self.b.int(1),
            MapHome::Keyed { map } => {
                if !self.need_for_each(span, "`len()` of a map") {
                    return self.b.int(0);
                }
                let callback = self.empty_callback();
                let args = [
                    self.b.map_object(map),
                    self.b.fn_addr(callback),
                    {
                        let slot = self.b.slot(8, 8, None);
                        let ptr = self.b.slot_addr(slot);
                        self.b.mem_zero(ptr, 0, 8);
                        ptr
                    },
                    self.b.int(0),
                ];
                self.b.call(helpers::FOR_EACH_MAP_ELEM, &args)
            }
        }
    }

    /// Says so if the kernel cannot walk maps.
    pub fn need_for_each(&mut self, span: Span, what: &str) -> bool {
        let has = self.lowering.features().for_each_map_elem;
        if !has {
            let instead = "print the map and count or add up in user space, for example with `report`";
            self.lowering.unsupported(span, what, "bpf_for_each_map_elem", (5, 13), instead);
        }
        has
    }

    /// The source text that the next instructions come from.
    pub fn span(&self) -> Span {
        self.b.span
    }
}
