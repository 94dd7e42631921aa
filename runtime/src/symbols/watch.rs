//! What a process maps, as the kernel tells it while it happens.
//!
//! Stacks that a script keeps in maps are resolved when they are printed. By then the process may have
//! ended, and with it what tells which library was where. A perf event that counts nothing
//! (`PERF_COUNT_SW_DUMMY`) has the kernel write a record for each piece of code that the process, its
//! threads and its children map, and for each fork, whenever they end. perf itself relies on the same records.
//!
//! ```text
//! one event per CPU (and thread that is there already)  ->  one ring of 8 pages per CPU
//! MMAP2  pid, address, length, offset, device, inode, protection, path, time
//! FORK   pid, parent, time
//! ```
//!
//! Rings are read when symbols are asked for. One that fills up meanwhile (some 250 libraries per CPU) drops
//! what is new: processes that are still there are then read from `/proc`.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use libbpf_rs::libbpf_sys as sys;

use super::mappings::Mapping;
use crate::cpus;

/// Pages of records per CPU, a power of two.
const RING_PAGES: usize = 8;

/// Events of threads that are there already: not more than this, whatever their number.
const MOST_EVENTS: usize = 512;

/// `PERF_TYPE_SOFTWARE`, `PERF_COUNT_SW_DUMMY`, `PERF_SAMPLE_TIME`, `PERF_RECORD_*` and others of
/// include/uapi/linux/perf_event.h.
const TYPE_SOFTWARE: u32 = 1;
const COUNT_SW_DUMMY: u64 = 9;
const SAMPLE_TIME: u64 = 1 << 2;
const RECORD_FORK: u32 = 7;
const RECORD_MMAP2: u32 = 10;
const FLAG_CLOEXEC: libc::c_ulong = 8;
const IOC_SET_OUTPUT: libc::c_ulong = 0x2405;

/// All tasks of a CPU, to `perf_event_open`.
const EVERY_TASK: i32 = -1;

/// Something that happened to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It mapped code.
    Mapped {
        /// Its thread group id.
        tgid: u32,
        /// What it mapped.
        mapping: Mapping,
    },
    /// It began as a copy of another.
    Forked {
        /// Its thread group id.
        child: u32,
        /// The other's.
        parent: u32,
    },
}

/// Records of a process and its children, or of all processes.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The process; 0 for all.
    tgid: u32,
    rings: Vec<Ring>,
    /// Events of further threads, which write into the rings.
    _threads: Vec<OwnedFd>,
}

impl Watch {
    /// Has the kernel write down what all processes do from now on; `None` if it does not let us.
    pub fn all() -> Option<Watch> {
        let cpus = cpus::online().ok()?;
        let rings: Vec<Ring> = cpus.iter().filter_map(|cpu| Ring::open(EVERY_TASK, *cpu).ok()).collect();
        (!rings.is_empty()).then_some(Watch { tgid: 0, rings, _threads: Vec::new() })
    }

    /// Has the kernel write down what a process does from now on; `None` if it does not let us.
    pub fn of_process(tgid: u32) -> Option<Watch> {
        let cpus = cpus::online().ok()?;
        // A CPU that went offline meanwhile has nothing to tell.
        let rings: Vec<Ring> = cpus.iter().filter_map(|cpu| Ring::open(tgid as i32, *cpu).ok()).collect();
        let mut threads = Vec::new();
        'threads: for tid in other_threads(tgid) {
            for ring in &rings {
                if threads.len() == MOST_EVENTS {
                    break 'threads;
                }
                threads.extend(ring.also_of(tid).ok());
            }
        }
        (!rings.is_empty()).then_some(Watch { tgid, rings, _threads: threads })
    }

    /// The process.
    pub fn tgid(&self) -> u32 {
        self.tgid
    }

    /// Readable when something happened.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.rings.iter().map(|ring| ring.event.as_fd())
    }

    /// What happened since the last time, in order.
    pub fn take(&mut self) -> Vec<Change> {
        let mut records: Vec<(u64, Change)> = Vec::new();
        for ring in &mut self.rings {
            ring.read(&mut records);
        }
        records.sort_by_key(|(time, _)| *time);
        records.into_iter().map(|(_, change)| change).collect()
    }
}

fn other_threads(tgid: u32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{tgid}/task")) else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|tid| *tid != tgid as i32).collect()
}

/// The records of one CPU.
#[derive(Debug)]
struct Ring {
    event: OwnedFd,
    cpu: u32,
    /// `struct perf_event_mmap_page`, and the records in the pages behind it.
    pages: NonNull<sys::perf_event_mmap_page>,
    page_bytes: usize,
}

impl Ring {
    fn open(tid: i32, cpu: u32) -> io::Result<Ring> {
        let event = open_event(tid, cpu)?;
        // SAFETY: `sysconf` has no preconditions.
        let page_bytes = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        let length = page_bytes * (1 + RING_PAGES);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of a descriptor that is open, nowhere in particular.
        let mapped =
            unsafe { libc::mmap(ptr::null_mut(), length, access, libc::MAP_SHARED, event.as_raw_fd(), 0) };
        match NonNull::new(mapped.cast()).filter(|_| mapped != libc::MAP_FAILED) {
            Some(pages) => Ok(Ring { event, cpu, pages, page_bytes }),
            None => Err(io::Error::last_os_error()),
        }
    }

    /// Has another thread's records written here too.
    fn also_of(&self, tid: i32) -> io::Result<OwnedFd> {
        let event = open_event(tid, self.cpu)?;
        // SAFETY: both descriptors are open.
        match unsafe { libc::ioctl(event.as_raw_fd(), IOC_SET_OUTPUT as _, self.event.as_raw_fd()) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(event),
        }
    }

    /// Takes all records that are there.
    fn read(&mut self, records: &mut Vec<(u64, Change)>) {
        let size = self.page_bytes * RING_PAGES;
        // SAFETY: the page is mapped for as long as this lives; the kernel writes `data_head`, and only this
        // process `data_tail`, which the atomics respect.
        let (head, tail, data) = unsafe {
            let page = self.pages.as_ptr();
            let head = AtomicU64::from_ptr(&raw mut (*page).data_head);
            let tail = AtomicU64::from_ptr(&raw mut (*page).data_tail);
            (head, tail, page.cast::<u8>().add(self.page_bytes))
        };
        let (end, mut at) = (head.load(Ordering::Acquire), tail.load(Ordering::Relaxed));
        while at < end {
            // SAFETY: bytes between tail and head are written, and the ring wraps at its size.
            let byte = |n: u64| unsafe { data.add(((at + n) % size as u64) as usize).read() };
            let length = u64::from(u16::from_ne_bytes([byte(6), byte(7)]));
            if length < 8 || length > end - at {
                break;
            }
            let record: Vec<u8> = (0..length).map(byte).collect();
            records.extend(change(&record));
            at += length;
        }
        tail.store(end, Ordering::Release);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: mapped by `open` with this length, and nothing else refers to it.
        unsafe { libc::munmap(self.pages.as_ptr().cast(), self.page_bytes * (1 + RING_PAGES)) };
    }
}

fn open_event(tid: i32, cpu: u32) -> io::Result<OwnedFd> {
    // SAFETY: all-zero is a valid attribute.
    let mut attr: sys::perf_event_attr = unsafe { std::mem::zeroed() };
    attr.size = size_of::<sys::perf_event_attr>() as u32;
    attr.type_ = TYPE_SOFTWARE;
    attr.config = COUNT_SW_DUMMY;
    attr.sample_type = SAMPLE_TIME;
    attr.set_sample_id_all(1);
    attr.set_inherit(1);
    attr.set_exclude_kernel(1);
    attr.set_mmap(1);
    attr.set_mmap2(1);
    attr.set_task(1);
    // Whoever waits for a ring is woken by each record.
    attr.set_watermark(1);
    attr.__bindgen_anon_2.wakeup_watermark = 1;
    // SAFETY: the attribute lives across the call, which gives a descriptor that nobody else owns.
    unsafe {
        let fd = libc::syscall(libc::SYS_perf_event_open, &attr, tid, cpu as i32, -1, FLAG_CLOEXEC);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd as i32)) }
    }
}

/// The time of a record and what it tells, if it is one of ours.
fn change(record: &[u8]) -> Option<(u64, Change)> {
    let u32_at = |at: usize| Some(u32::from_ne_bytes(record.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_ne_bytes(record.get(at..at + 8)?.try_into().ok()?));
    let time = u64_at(record.len().checked_sub(8)?)?;
    match u32_at(0)? {
        RECORD_FORK => {
            let (child, parent) = (u32_at(8)?, u32_at(12)?);
            (child != parent).then_some((time, Change::Forked { child, parent }))
        }
        RECORD_MMAP2 => {
            let (tgid, start, length, offset) = (u32_at(8)?, u64_at(16)?, u64_at(24)?, u64_at(32)?);
            let (device, inode) = ((u32_at(40)?, u32_at(44)?), u64_at(48)?);
            let is_code = u32_at(64)? & libc::PROT_EXEC as u32 != 0;
            let path = record.get(72..record.len() - 8)?.split(|b| *b == 0).next()?;
            let path = match String::from_utf8_lossy(path) {
                anonymous if anonymous == "//anon" => String::new(),
                path => path.into_owned(),
            };
            let range = start..start.checked_add(length)?;
            let mapping = Mapping { range, offset, device, inode, path };
            is_code.then_some((time, Change::Mapped { tgid, mapping }))
        }
        _ => None,
    }
}
