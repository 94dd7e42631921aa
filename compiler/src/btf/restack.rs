//! Types put on top of others than those they were written for.
//!
//! Each kernel module's BTF goes on where the kernel's ends, and a loaded eBPF program's stands alone, so two of
//! them have the same ids. A script that needs several has them stacked: a copy of each with its ids and names
//! moved past those below.

use super::records::{self, Move};
use super::{Btf, BtfError};

impl Btf {
    /// These types on top of others, and by how much their own ids grow. The others must have this BTF's base
    /// at their bottom, or this BTF must have none.
    ///
    /// # Errors
    /// If there are more types or names than there are numbers for.
    pub fn on_top_of(&self, others: &Btf) -> Result<(Btf, u32), BtfError> {
        let too_many = BtfError::Damaged { what: "there are too many types", type_id: None };
        // Without a base, 0 is `void` and the empty name, which mean the same everywhere.
        let moved = |from: u32, to: u32| to.checked_sub(from).map(|by| Move { from, by });
        let own = |from: Option<u32>| from.unwrap_or(1);
        let types = moved(own(self.base().map(Btf::type_count)), others.type_count());
        let names = match self.base() {
            Some(base) => moved(base.string_bytes(), others.string_bytes()),
            None => Some(Move { from: 1, by: others.string_bytes() }),
        };
        let (Some(types), Some(names)) = (types, names) else { return Err(too_many) };
        if types.by.checked_add(self.type_count()).is_none()
            || names.by.checked_add(self.string_bytes()).is_none()
        {
            return Err(too_many);
        }
        let mut bytes = self.bytes().to_vec();
        let unused = usize::from(self.base().is_none());
        for start in self.shared.records.iter().skip(unused) {
            records::move_record(&mut bytes, *start as usize, types, names);
        }
        Ok((Btf::parse_split(bytes, others)?, types.by))
    }

    /// The id that a type has after [`Btf::on_top_of`] moved this BTF's own types by so much.
    pub fn moved_id(&self, id: u32, by: u32) -> u32 {
        if self.is_own(id) { id + by } else { id }
    }

    /// Whether this is the id of one of this BTF's own types, rather than of what it is on top of.
    pub fn is_own(&self, id: u32) -> bool {
        id >= self.first_id().max(1) && id < self.type_count()
    }
}
