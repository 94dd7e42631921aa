//! The map commands of `bpf()`, with slices in place of pointers.
//!
//! Every function takes the file descriptor of a map whose sizes the caller knows; buffer lengths
//! are checked against them here, so that the kernel never writes past a buffer.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// Sizes of a map, as the kernel has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Bytes of a key.
    pub key_size: usize,
    /// Bytes of one copy of a value.
    pub value_size: usize,
    /// Bytes from one copy of a value to the next in a read buffer.
    pub stride: usize,
    /// Copies of a value: 1, or one per possible CPU.
    pub copies: usize,
    /// How many keys fit.
    pub max_entries: u32,
}

impl Shape {
    /// Bytes that reading one value fills.
    pub fn value_bytes(self) -> usize {
        self.stride * self.copies
    }
}

/// What [`lookup_batch`] found.
pub(super) enum Batch {
    /// So many elements; there are more.
    More(usize),
    /// So many elements; they were the last.
    Last(usize),
    /// One bucket of the hash table has more elements than the buffer: try with a larger one.
    TooSmall,
}

/// Map types with a value per CPU (`enum bpf_map_type`, include/uapi/linux/bpf.h).
fn is_per_cpu(map_type: u32) -> bool {
    [
        libbpf_sys::BPF_MAP_TYPE_PERCPU_HASH,
        libbpf_sys::BPF_MAP_TYPE_PERCPU_ARRAY,
        libbpf_sys::BPF_MAP_TYPE_LRU_PERCPU_HASH,
    ]
    .contains(&map_type)
}

/// Asks the kernel for a map's sizes.
pub(super) fn shape(fd: BorrowedFd<'_>) -> io::Result<Shape> {
    let mut info = libbpf_sys::bpf_map_info::default();
    let mut len = size_of::<libbpf_sys::bpf_map_info>() as u32;
    // SAFETY: `info` is a valid `bpf_map_info` of `len` bytes, and outlives the call.
    check(unsafe { libbpf_sys::bpf_map_get_info_by_fd(fd.as_raw_fd(), &raw mut info, &raw mut len) })?;
    let value_size = info.value_size as usize;
    let (stride, copies) = if is_per_cpu(info.type_) {
        // The kernel rounds each CPU's copy up to 8 bytes (`bpf_map_value_size`, kernel/bpf/syscall.c).
        (value_size.next_multiple_of(8), possible_cpus()?)
    } else {
        (value_size, 1)
    };
    Ok(Shape { key_size: info.key_size as usize, value_size, stride, copies, max_entries: info.max_entries })
}

/// How many CPUs there can be: copies of a value that the kernel writes.
fn possible_cpus() -> io::Result<usize> {
    // SAFETY: the function takes nothing and reads a file in `/sys`.
    let cpus = unsafe { libbpf_sys::libbpf_num_possible_cpus() };
    check(cpus)?;
    Ok(cpus as usize)
}

/// Reads one value; `false` if the key is not there.
pub(super) fn lookup(fd: BorrowedFd<'_>, shape: Shape, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
    assert!(key.len() == shape.key_size && value.len() == shape.value_bytes(), "buffers fit the map");
    // SAFETY: the buffers have the sizes that the kernel reads and writes, by the assertion.
    found(unsafe {
        libbpf_sys::bpf_map_lookup_elem(fd.as_raw_fd(), key.as_ptr().cast(), value.as_mut_ptr().cast())
    })
}

/// Writes the value of a key that exists; `false` if it does not any more.
pub(super) fn update_existing(
    fd: BorrowedFd<'_>,
    shape: Shape,
    key: &[u8],
    value: &[u8],
) -> io::Result<bool> {
    assert!(key.len() == shape.key_size && value.len() == shape.value_bytes(), "buffers fit the map");
    // SAFETY: the buffers have the sizes that the kernel reads, by the assertion.
    found(unsafe {
        libbpf_sys::bpf_map_update_elem(
            fd.as_raw_fd(),
            key.as_ptr().cast(),
            value.as_ptr().cast(),
            u64::from(libbpf_sys::BPF_EXIST),
        )
    })
}

/// Deletes a key; `false` if it is not there.
pub(super) fn delete(fd: BorrowedFd<'_>, shape: Shape, key: &[u8]) -> io::Result<bool> {
    assert!(key.len() == shape.key_size, "the key fits the map");
    // SAFETY: the key has the size that the kernel reads, by the assertion.
    found(unsafe { libbpf_sys::bpf_map_delete_elem(fd.as_raw_fd(), key.as_ptr().cast()) })
}

/// Puts the key after `key` (the first one without, or if `key` is gone) into `next`; `false` at the end.
pub(super) fn next_key(
    fd: BorrowedFd<'_>,
    shape: Shape,
    key: Option<&[u8]>,
    next: &mut [u8],
) -> io::Result<bool> {
    assert!(
        next.len() == shape.key_size && key.is_none_or(|k| k.len() == shape.key_size),
        "keys fit the map"
    );
    let key = key.map_or(ptr::null(), <[u8]>::as_ptr);
    // SAFETY: both keys have the size that the kernel reads and writes, by the assertion; a null key asks
    // for the first.
    found(unsafe { libbpf_sys::bpf_map_get_next_key(fd.as_raw_fd(), key.cast(), next.as_mut_ptr().cast()) })
}

/// Reads elements from `token` (`None`: from the beginning) on, and deletes them too if `take` is set.
///
/// `token` is left where the next call has to go on. The buffers hold a whole number of elements.
///
/// # Kernel
/// 5.6 for hashes; arrays per CPU since 5.13. Fails with `EINVAL` or `ENOTSUPP` where there is none.
pub(super) fn lookup_batch(
    fd: BorrowedFd<'_>,
    shape: Shape,
    token: &mut Option<Vec<u8>>,
    keys: &mut [u8],
    values: &mut [u8],
    take: bool,
) -> io::Result<Batch> {
    let room = values.len() / shape.value_bytes();
    assert!(keys.len() >= room * shape.key_size && room > 0, "buffers fit the map");
    let mut count = u32::try_from(room).unwrap_or(u32::MAX);
    // The token is a `u32` for hashes and as long as a key for other maps.
    let mut next = vec![0u8; shape.key_size.max(8)];
    let opts = libbpf_sys::bpf_map_batch_opts {
        sz: size_of::<libbpf_sys::bpf_map_batch_opts>() as _,
        ..Default::default()
    };
    let from = token.as_mut().map_or(ptr::null_mut(), |t| t.as_mut_ptr());
    let call =
        if take { libbpf_sys::bpf_map_lookup_and_delete_batch } else { libbpf_sys::bpf_map_lookup_batch };
    // SAFETY: `keys` and `values` have room for `count` elements of the map's sizes, both tokens for
    // a key, and all of them outlive the call.
    let answer = unsafe {
        call(
            fd.as_raw_fd(),
            from.cast(),
            next.as_mut_ptr().cast(),
            keys.as_mut_ptr().cast(),
            values.as_mut_ptr().cast(),
            &raw mut count,
            &raw const opts,
        )
    };
    let count = (count as usize).min(room);
    match -answer {
        libc::ENOENT => return Ok(Batch::Last(count)),
        libc::ENOSPC => return Ok(Batch::TooSmall),
        _ => {}
    }
    check(answer)?;
    *token = Some(next);
    Ok(Batch::More(count))
}

/// Whether an error says that the kernel cannot read this map in batches.
pub(super) fn lacks_batches(error: &io::Error) -> bool {
    /// `ENOTSUPP` of include/linux/errno.h, which `bpf()` lets out and libc has no name for.
    const ENOTSUPP: i32 = 524;
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP))
}

/// libbpf answers with a negated errno.
fn check(answer: i32) -> io::Result<()> {
    if answer < 0 { Err(io::Error::from_raw_os_error(-answer)) } else { Ok(()) }
}

/// The same, where "no such element" is an answer.
fn found(answer: i32) -> io::Result<bool> {
    if answer == -libc::ENOENT { Ok(false) } else { check(answer).map(|()| true) }
}
