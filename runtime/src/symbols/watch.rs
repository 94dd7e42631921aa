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
//! Rings are read when symbols are asked for, and when one that is filled to a quarter (some 60 libraries) wakes
//! whoever waits for it. What a full one drops is counted, by the kernel where it does (Linux 6.0), else by the
//! record that it writes when there is room again. Processes that are still there are then read from `/proc`.

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

/// When whoever waits for a ring is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// By each record.
    Always,
    /// When a quarter is filled.
    InTime,
}

impl Wake {
    fn bytes(self) -> u32 {
        match self {
            Wake::Always => 1,
            // Of a ring with the smallest pages.
            Wake::InTime => RING_PAGES as u32 * 4096 / 4,
        }
    }
}

/// Events of threads that are there already: not more than this, whatever their number.
const MOST_EVENTS: usize = 512;

/// `PERF_TYPE_SOFTWARE`, `PERF_COUNT_SW_DUMMY`, `PERF_SAMPLE_TIME`, `PERF_RECORD_*` and others of
/// include/uapi/linux/perf_event.h.
const TYPE_SOFTWARE: u32 = 1;
const COUNT_SW_DUMMY: u64 = 9;
const SAMPLE_TIME: u64 = 1 << 2;
const FORMAT_LOST: u64 = 1 << 4;
const RECORD_LOST: u32 = 2;
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
    rings: Vec<Ring>,
    /// Events of further threads, which write into the rings.
    threads: Vec<OwnedFd>,
    /// What the records say was dropped.
    told_lost: u64,
}

impl Watch {
    /// Has the kernel write down what all processes do from now on; `None` if it does not let us.
    pub fn all() -> Option<Watch> {
        let cpus = cpus::online().ok()?;
        let rings: Vec<Ring> =
            cpus.iter().filter_map(|cpu| Ring::open(EVERY_TASK, *cpu, Wake::InTime).ok()).collect();
        (!rings.is_empty()).then_some(Watch { rings, threads: Vec::new(), told_lost: 0 })
    }

    /// Has the kernel write down what a process does from now on; `None` if it does not let us.
    pub fn of_process(tgid: u32, wake: Wake) -> Option<Watch> {
        let cpus = cpus::online().ok()?;
        // A CPU that went offline meanwhile has nothing to tell.
        let rings: Vec<Ring> =
            cpus.iter().filter_map(|cpu| Ring::open(tgid as i32, *cpu, wake).ok()).collect();
        let mut threads = Vec::new();
        'threads: for tid in other_threads(tgid) {
            for ring in &rings {
                if threads.len() == MOST_EVENTS {
                    break 'threads;
                }
                threads.extend(ring.also_of(tid).ok());
            }
        }
        (!rings.is_empty()).then_some(Watch { rings, threads, told_lost: 0 })
    }

    /// Readable when enough happened.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.rings.iter().map(|ring| ring.event.as_fd())
    }

    /// What happened since the last time, in order.
    pub fn take(&mut self) -> Vec<Change> {
        let mut records: Vec<(u64, Change)> = Vec::new();
        for ring in &mut self.rings {
            self.told_lost += ring.read(&mut records);
        }
        records.sort_by_key(|(time, _)| *time);
        records.into_iter().map(|(_, change)| change).collect()
    }

    /// How many records found their ring full, up to now.
    pub fn lost(&self) -> u64 {
        let events = self.rings.iter().map(|ring| &ring.event).chain(&self.threads);
        // Either all of them count or, on an older kernel, none does.
        events.map(lost_by_event).sum::<Option<u64>>().unwrap_or(self.told_lost)
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
    wake: Wake,
    /// `struct perf_event_mmap_page`, and the records in the pages behind it.
    pages: NonNull<sys::perf_event_mmap_page>,
    page_bytes: usize,
}

impl Ring {
    fn open(tid: i32, cpu: u32, wake: Wake) -> io::Result<Ring> {
        let event = open_event(tid, cpu, wake)?;
        // SAFETY: `sysconf` has no preconditions.
        let page_bytes = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        let length = page_bytes * (1 + RING_PAGES);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of a descriptor that is open, nowhere in particular.
        let mapped =
            unsafe { libc::mmap(ptr::null_mut(), length, access, libc::MAP_SHARED, event.as_raw_fd(), 0) };
        match NonNull::new(mapped.cast()).filter(|_| mapped != libc::MAP_FAILED) {
            Some(pages) => Ok(Ring { event, cpu, wake, pages, page_bytes }),
            None => Err(io::Error::last_os_error()),
        }
    }

    /// Has another thread's records written here too.
    fn also_of(&self, tid: i32) -> io::Result<OwnedFd> {
        let event = open_event(tid, self.cpu, self.wake)?;
        // SAFETY: both descriptors are open.
        match unsafe { libc::ioctl(event.as_raw_fd(), IOC_SET_OUTPUT as _, self.event.as_raw_fd()) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(event),
        }
    }

    /// Takes all records that are there; how many others they say were dropped before.
    fn read(&mut self, records: &mut Vec<(u64, Change)>) -> u64 {
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
        let mut lost = 0;
        while at < end {
            // SAFETY: bytes between tail and head are written, and the ring wraps at its size.
            let byte = |n: u64| unsafe { data.add(((at + n) % size as u64) as usize).read() };
            let length = u64::from(u16::from_ne_bytes([byte(6), byte(7)]));
            if length < 8 || length > end - at {
                break;
            }
            let record: Vec<u8> = (0..length).map(byte).collect();
            records.extend(change(&record));
            lost += lost_by_record(&record).unwrap_or(0);
            at += length;
        }
        tail.store(end, Ordering::Release);
        lost
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: mapped by `open` with this length, and nothing else refers to it.
        unsafe { libc::munmap(self.pages.as_ptr().cast(), self.page_bytes * (1 + RING_PAGES)) };
    }
}

/// How many records of an event were dropped; `None` where the kernel does not count them.
fn lost_by_event(event: &OwnedFd) -> Option<u64> {
    // The event's value, and what it lost.
    let mut words = [0u64; 2];
    // SAFETY: the words are written to, and as long as said.
    let read = unsafe { libc::read(event.as_raw_fd(), words.as_mut_ptr().cast(), size_of_val(&words)) };
    (read == size_of_val(&words) as isize).then_some(words[1])
}

fn open_event(tid: i32, cpu: u32, wake: Wake) -> io::Result<OwnedFd> {
    match open_event_with(tid, cpu, wake, FORMAT_LOST) {
        // An older kernel: see `Watch::lost`.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => open_event_with(tid, cpu, wake, 0),
        other => other,
    }
}

fn open_event_with(tid: i32, cpu: u32, wake: Wake, read_format: u64) -> io::Result<OwnedFd> {
    // SAFETY: all-zero is a valid attribute.
    let mut attr: sys::perf_event_attr = unsafe { std::mem::zeroed() };
    attr.size = size_of::<sys::perf_event_attr>() as u32;
    attr.type_ = TYPE_SOFTWARE;
    attr.config = COUNT_SW_DUMMY;
    attr.sample_type = SAMPLE_TIME;
    attr.read_format = read_format;
    attr.set_watermark(1);
    attr.__bindgen_anon_2.wakeup_watermark = wake.bytes();
    attr.set_sample_id_all(1);
    attr.set_inherit(1);
    attr.set_exclude_kernel(1);
    attr.set_mmap(1);
    attr.set_mmap2(1);
    attr.set_task(1);
    // SAFETY: the attribute lives across the call, which gives a descriptor that nobody else owns.
    unsafe {
        let fd = libc::syscall(libc::SYS_perf_event_open, &attr, tid, cpu as i32, -1, FLAG_CLOEXEC);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd as i32)) }
    }
}

/// How many records were dropped, if this record is about that (`PERF_RECORD_LOST`: an id, then the number).
fn lost_by_record(record: &[u8]) -> Option<u64> {
    let is_lost = record.get(..4)? == RECORD_LOST.to_ne_bytes();
    is_lost.then_some(u64::from_ne_bytes(record.get(16..24)?.try_into().ok()?))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skip::skipped;

    /// What this thread maps; `None` where it may not be watched.
    fn watch_of_this_thread() -> Option<Watch> {
        // SAFETY: the call has no preconditions.
        let tid = unsafe { libc::gettid() };
        let cpus = cpus::online().expect("CPUs can be listed");
        let rings: io::Result<Vec<Ring>> =
            cpus.iter().map(|cpu| Ring::open(tid, *cpu, Wake::InTime)).collect();
        match rings {
            Ok(rings) => Some(Watch { rings, threads: Vec::new(), told_lost: 0 }),
            Err(error) => {
                skipped(&format!("mappings cannot be watched: {error}"));
                None
            }
        }
    }

    /// Maps a page of code so many times.
    fn map(times: usize) {
        for _ in 0..times {
            let access = libc::PROT_READ | libc::PROT_EXEC;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: a new mapping nowhere in particular, which nothing refers to, is taken away again.
            unsafe {
                let page = libc::mmap(ptr::null_mut(), 4096, access, flags, -1, 0);
                assert_ne!(page, libc::MAP_FAILED);
                libc::munmap(page, 4096);
            }
        }
    }

    #[test]
    fn each_mapping_is_told_or_counted_as_lost() {
        let Some(mut watch) = watch_of_this_thread() else { return };
        map(3000);
        let told = watch.take().len() as u64;
        map(2);
        let told = told + watch.take().len() as u64;
        assert!(told > 100, "{told}");
        assert_eq!(told + watch.lost(), 3002);
    }

    #[test]
    fn the_record_of_a_loss_says_as_much_as_the_kernel_counts() {
        let Some(mut watch) = watch_of_this_thread() else { return };
        map(3000);
        watch.take();
        // It is written when there is room again, on the CPU that lost.
        while watch.told_lost == 0 {
            map(1);
            watch.take();
        }
        let (counted, told) = (watch.lost(), watch.told_lost);
        assert!(told > 0 && counted >= told, "{counted} {told}");
    }

    #[test]
    fn much_to_take_wakes() {
        let Some(watch) = watch_of_this_thread() else { return };
        let (mut epoll, mut ready) = (crate::epoll::Epoll::new().expect("it can be made"), Vec::new());
        for fd in watch.fds() {
            epoll.wake_once_on_readable(fd, ()).expect("it can be waited for");
        }
        map(1);
        epoll.wait(Some(std::time::Duration::ZERO), &mut ready).expect("it waits");
        assert_eq!(ready.len(), 0);
        map(3000);
        epoll.wait(None, &mut ready).expect("it waits");
        assert!(!ready.is_empty());
    }
}
