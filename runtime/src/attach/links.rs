//! What keeps programs attached. Dropping a link detaches.
//!
//! The kernel takes up to 100 ms to close a link, most of it waiting for every CPU to have passed a quiet
//! point, and many can wait at the same time: 26 `uprobe_multi` links take 90 ms in parallel and 1 s
//! one after the other. (Uprobes that are perf events wait under a lock of the kernel's, about 90 ms each;
//! for them it makes no difference.) So links are closed by many threads, also when a run fails half-way.

use std::os::fd::OwnedFd;
use std::thread;

use super::parallel;

/// What attaches one program to one or many points.
#[derive(Debug)]
pub struct Link {
    /// Index of the program in the plan.
    pub program: usize,
    /// How many points it has.
    pub points: usize,
    /// The link, and the perf events under it.
    pub fds: Vec<OwnedFd>,
}

/// All links of a run.
#[derive(Debug, Default)]
pub struct Links(Vec<Link>);

impl Links {
    /// One more.
    pub fn push(&mut self, link: Link) {
        self.0.push(link);
    }

    /// In the order they were made.
    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.0.iter()
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        let threads = self.0.len().min(parallel::THREADS);
        let mut shares: Vec<Vec<Link>> = (0..threads).map(|_| Vec::new()).collect();
        for (index, link) in self.0.drain(..).enumerate() {
            shares[index % threads].push(link);
        }
        let own = shares.pop();
        thread::scope(|scope| {
            for share in shares {
                // Where no thread can be started, the closure is dropped here and the share with it.
                let _ = thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, move || drop(share));
            }
            drop(own);
        });
    }
}
