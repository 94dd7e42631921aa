//! Runs independent jobs on a few threads: attaching single probes is mostly waiting in the kernel.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// So many threads at most. They wait rather than compute, so more than CPUs are of use.
pub const THREADS: usize = 32;

/// Fewer jobs than this are not worth threads.
const FEW: usize = 3;

/// The results of `work` on each job, in the order of the jobs.
pub fn map<J: Sync, R: Send>(jobs: &[J], work: impl Fn(&J) -> R + Sync) -> Vec<R> {
    if jobs.len() < FEW {
        return jobs.iter().map(work).collect();
    }
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(jobs.len())));
    let worker = || {
        while let Some((index, job)) = take(&next, jobs) {
            let result = work(job);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    thread::scope(|scope| {
        for _ in 1..jobs.len().min(THREADS) {
            // This thread does the work that no other takes, so one that cannot start is no loss.
            if thread::Builder::new().stack_size(128 << 10).spawn_scoped(scope, worker).is_err() {
                break;
            }
        }
        worker();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn take<'a, J>(next: &AtomicUsize, jobs: &'a [J]) -> Option<(usize, &'a J)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    jobs.get(index).map(|job| (index, job))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_jobs() {
        let jobs: Vec<usize> = (0..1000).collect();
        assert_eq!(map(&jobs, |job| job * 2), (0..1000).map(|job| job * 2).collect::<Vec<_>>());
    }

    #[test]
    fn no_jobs_have_no_results() {
        assert!(map(&[] as &[u8], |_| ()).is_empty());
    }
}
