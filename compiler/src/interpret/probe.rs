//! Helpers that copy a part of the world into a program's memory.
//!
//! Memory that is not there gives an error and zeros, as in kernel/trace/bpf_trace.c and
//! mm/maccess.c. `probe_read_kernel` may also be given an address of a program's own memory, as such or as a number.

use super::maps::{EFAULT, EINVAL};
use super::memory::{Address, Val};
use super::run::{Run, address, number};
use super::trap::Fault;
use super::world::FakeMemory;

/// Flags of `bpf_get_stack`: frames to skip, and the user's stack.
const BPF_F_SKIP_FIELD_MASK: u64 = 0xff;
const BPF_F_USER_STACK: u64 = 1 << 8;

/// Bytes of a thread's name with its NUL (`TASK_COMM_LEN`, include/linux/sched.h).
const COMM_BYTES: usize = 16;

impl Run<'_, '_> {
    /// Where a helper writes, and how many bytes.
    fn destination(&mut self, to: Val, size: Val) -> Result<(Address, usize), Fault> {
        let (to, size) = (address(to)?, self.size(size)?);
        self.machine.memory.check_writable(to, size)?;
        Ok((to, size))
    }

    /// Writes what was found, or zeros and an error.
    fn deliver(&mut self, to: Address, size: usize, found: Option<&[u8]>, error: i64) -> Result<i64, Fault> {
        match found {
            Some(bytes) => {
                self.machine.memory.write(to, bytes)?;
                Ok(0)
            }
            None => {
                self.machine.memory.write(to, &vec![0; size])?;
                Ok(error)
            }
        }
    }

    /// Writes no further than the word that has the NUL, as some kernels do (`strscpy`, lib/string.c): what
    /// comes after it is what was there before.
    pub fn current_comm(&mut self, to: Val, size: Val) -> Result<i64, Fault> {
        let (to, size) = self.destination(to, size)?;
        let comm = self.machine.world.task.comm.as_bytes();
        let kept = comm.len().min(COMM_BYTES - 1).min(size.saturating_sub(1));
        let mut padded = vec![0; (kept + 1).next_multiple_of(8).min(size)];
        padded[..kept].copy_from_slice(&comm[..kept]);
        self.deliver(to, size, Some(&padded), 0)
    }

    pub fn ns_pid_tgid(&mut self, dev: Val, ino: Val, to: Val, size: Val) -> Result<i64, Fault> {
        let (to, size) = self.destination(to, size)?;
        let world = &self.machine.world;
        let asked = (number(dev)? as u64, number(ino)? as u64);
        // struct bpf_pidns_info { __u32 pid; __u32 tgid; }
        let both = [world.task.ns_tid.to_le_bytes(), world.task.ns_pid.to_le_bytes()].concat();
        let found = (size == 8 && asked == world.pid_ns).then_some(both);
        self.deliver(to, size, found.as_deref(), EINVAL)
    }

    pub fn get_stack(&mut self, to: Val, size: Val, flags: u64) -> Result<i64, Fault> {
        let (to, size) = self.destination(to, size)?;
        let world = &self.machine.world;
        let stack = if flags & BPF_F_USER_STACK != 0 { &world.user_stack } else { &world.kernel_stack };
        let skipped = (flags & BPF_F_SKIP_FIELD_MASK) as usize;
        if flags & !(BPF_F_USER_STACK | BPF_F_SKIP_FIELD_MASK) != 0 || !size.is_multiple_of(8) {
            return self.deliver(to, size, None, EINVAL);
        }
        let Some(frames) = stack.as_ref().and_then(|frames| frames.get(skipped..)) else {
            return self.deliver(to, size, None, EFAULT);
        };
        let mut bytes: Vec<u8> = frames.iter().take(size / 8).flat_map(|frame| frame.to_le_bytes()).collect();
        let copied = bytes.len();
        bytes.resize(size, 0);
        self.deliver(to, size, Some(&bytes), 0)?;
        Ok(copied as i64)
    }

    fn fake_memory(&self, user: bool) -> &FakeMemory {
        if user { &self.machine.world.user } else { &self.machine.world.kernel }
    }

    /// The program's own memory, if a kernel address is in it.
    fn own(&self, number: u64, len: usize, user: bool) -> Option<Address> {
        if user { None } else { self.machine.memory.numbered(number, len) }
    }

    pub fn probe_read(&mut self, to: Val, size: Val, from: Val, user: bool) -> Result<i64, Fault> {
        let (to, size) = self.destination(to, size)?;
        let found = match from {
            Val::Address(from) if !user => Some(self.machine.memory.read(from, size)?),
            from => match self.own(number(from)? as u64, size, user) {
                Some(own) => Some(self.machine.memory.read(own, size)?),
                None => self.fake_memory(user).read(number(from)? as u64, size),
            },
        };
        self.deliver(to, size, found.as_deref(), EFAULT)
    }

    pub fn probe_read_str(&mut self, to: Val, size: Val, from: Val, user: bool) -> Result<i64, Fault> {
        let (to, size) = self.destination(to, size)?;
        let mut text = Vec::new();
        while text.len() < size && text.last() != Some(&0) {
            let n = text.len() as u64;
            let byte = match from {
                Val::Address(from) if !user => {
                    let offset = from.offset.wrapping_add(n as i64);
                    Some(self.machine.memory.read(Address { offset, ..from }, 1)?[0])
                }
                from => {
                    let at = (number(from)? as u64).wrapping_add(n);
                    match self.own(at, 1, user) {
                        Some(own) => Some(self.machine.memory.read(own, 1)?[0]),
                        None => self.fake_memory(user).byte(at),
                    }
                }
            };
            match byte {
                Some(byte) => text.push(byte),
                None => return self.deliver(to, size, None, EFAULT),
            }
        }
        // A text that is longer than the room ends in a NUL all the same.
        if let Some(last) = text.last_mut() {
            *last = 0;
        }
        self.deliver(to, size, Some(&text), 0)?;
        Ok(text.len() as i64)
    }
}
