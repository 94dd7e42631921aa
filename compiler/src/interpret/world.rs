//! What a program can learn of the world, as one value.

use std::collections::BTreeMap;

/// The world that programs run in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// How many CPUs there are, for per-CPU maps. Fixed when a machine is made.
    pub cpus: u32,
    /// The CPU that runs the program.
    pub cpu: u32,
    /// The NUMA node of that CPU.
    pub numa_node: u32,
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    pub monotonic_ns: u64,
    /// `CLOCK_BOOTTIME`, in nanoseconds.
    pub boot_ns: u64,
    /// `CLOCK_TAI`, in nanoseconds.
    pub tai_ns: u64,
    /// By how much each look at a clock moves all of them.
    pub clock_step_ns: u64,
    /// The state of the random number generator; any number will do.
    pub random: u64,
    /// The current task.
    pub task: Task,
    /// The PID namespace, as device and inode, in which [`Task::ns_pid`] and [`Task::ns_tid`] hold.
    pub pid_ns: (u64, u64),
    /// Kernel memory.
    pub kernel: FakeMemory,
    /// The current task's memory.
    pub user: FakeMemory,
    /// The kernel's stack, innermost frame first; `None` where it cannot be taken.
    pub kernel_stack: Option<Vec<u64>>,
    /// The current task's stack, innermost frame first; `None` where it cannot be taken.
    pub user_stack: Option<Vec<u64>>,
    /// The attach point's cookie.
    pub cookie: u64,
    /// Address of the traced function.
    pub func_ip: u64,
    /// Signals that programs have sent to the current task.
    pub signals: Vec<i32>,
    /// A run that takes more steps (instructions and block ends) than this is endless.
    pub max_steps: u64,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Process id (`tgid` in the kernel).
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// The process id in [`World::pid_ns`].
    pub ns_pid: u32,
    /// The thread id in [`World::pid_ns`].
    pub ns_tid: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// The thread's name, at most 15 bytes; more is cut.
    pub comm: String,
    /// Address of its `task_struct`.
    pub address: u64,
    /// Its cgroup's id.
    pub cgroup: u64,
}

impl Default for World {
    fn default() -> World {
        World {
            cpus: 2,
            cpu: 0,
            numa_node: 0,
            monotonic_ns: 1_000_000_000,
            boot_ns: 1_000_000_000,
            tai_ns: 1_000_000_000,
            clock_step_ns: 0,
            random: 1,
            task: Task::default(),
            pid_ns: (0, 0),
            kernel: FakeMemory::default(),
            user: FakeMemory::default(),
            kernel_stack: None,
            user_stack: None,
            cookie: 0,
            func_ip: 0,
            signals: Vec::new(),
            max_steps: 10_000_000,
        }
    }
}

impl Default for Task {
    fn default() -> Task {
        Task {
            pid: 1000,
            tid: 1000,
            ns_pid: 1000,
            ns_tid: 1000,
            uid: 0,
            gid: 0,
            comm: "task".into(),
            address: 0xffff_8880_0000_0000,
            cgroup: 1,
        }
    }
}

impl World {
    /// Looks at a clock; afterwards all have moved on.
    pub(super) fn clock(&mut self, clock: fn(&World) -> u64) -> u64 {
        let now = clock(self);
        for time in [&mut self.monotonic_ns, &mut self.boot_ns, &mut self.tai_ns] {
            *time = time.wrapping_add(self.clock_step_ns);
        }
        now
    }

    /// The next random number (splitmix64).
    pub(super) fn next_random(&mut self) -> u32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 32) as u32
    }
}

/// Memory by address: what can be read is what was put there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FakeMemory {
    bytes: BTreeMap<u64, u8>,
}

impl FakeMemory {
    /// Puts bytes at an address, over what may be there.
    pub fn put(&mut self, address: u64, bytes: &[u8]) {
        for (n, byte) in bytes.iter().enumerate() {
            self.bytes.insert(address.wrapping_add(n as u64), *byte);
        }
    }

    /// The bytes at an address; `None` if one of them is not there.
    pub fn read(&self, address: u64, len: usize) -> Option<Vec<u8>> {
        (0..len as u64).map(|n| self.byte(address.wrapping_add(n))).collect()
    }

    /// The byte at an address, if it is there.
    pub fn byte(&self, address: u64) -> Option<u8> {
        self.bytes.get(&address).copied()
    }
}
