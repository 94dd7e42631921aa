//! What helpers do; numbers, arguments and answers as in include/uapi/linux/bpf.h.

use super::Store;
use super::maps::{E2BIG, EAGAIN, EINVAL, MapState};
use super::memory::{Address, ObjectKind, Val};
use super::run::{Run, address, number};
use super::trap::Fault;
use crate::helpers as h;
use crate::ir::{FuncRef, Helper, MapRef, Type};

/// `BPF_MAX_LOOPS` (kernel/bpf/bpf_iter.c)
const MAX_LOOPS: u64 = 8 * 1024 * 1024;

/// Flags of `bpf_ringbuf_submit`, `_discard` and `_output`: `BPF_RB_NO_WAKEUP`, `BPF_RB_FORCE_WAKEUP`.
const RING_FLAGS: i64 = 3;

fn refused(what: &str) -> Fault {
    Fault::Argument { what: what.to_owned() }
}

impl Run<'_, '_> {
    /// Calls a helper.
    pub fn call(&mut self, helper: Helper, args: &[Val]) -> Result<Val, Fault> {
        let expected = h::signature(helper).map(|s| usize::from(s.args));
        if expected != Some(args.len()) {
            return Err(refused("the helper is not known, or takes another number of arguments"));
        }
        let world = &mut self.machine.world;
        let n = match (helper, args) {
            (h::KTIME_GET_NS, _) => world.clock(|w| w.monotonic_ns) as i64,
            (h::KTIME_GET_BOOT_NS, _) => world.clock(|w| w.boot_ns) as i64,
            (h::KTIME_GET_TAI_NS, _) => world.clock(|w| w.tai_ns) as i64,
            (h::GET_PRANDOM_U32, _) => i64::from(world.next_random()),
            (h::GET_SMP_PROCESSOR_ID, _) => i64::from(world.cpu),
            (h::GET_NUMA_NODE_ID, _) => i64::from(world.numa_node),
            (h::GET_CURRENT_PID_TGID, _) => pair(world.task.pid, world.task.tid),
            (h::GET_CURRENT_UID_GID, _) => pair(world.task.gid, world.task.uid),
            (h::GET_CURRENT_TASK | h::GET_CURRENT_TASK_BTF, _) => world.task.address as i64,
            (h::GET_CURRENT_CGROUP_ID, _) => world.task.cgroup as i64,
            (h::GET_FUNC_IP, [ctx]) => {
                let ip = world.func_ip as i64;
                self.check_context(*ctx)?;
                ip
            }
            (h::GET_ATTACH_COOKIE, [ctx]) => {
                let cookie = world.cookie as i64;
                self.check_context(*ctx)?;
                cookie
            }
            (h::SEND_SIGNAL, [signal]) => self.send_signal(number(*signal)?),
            (h::GET_CURRENT_COMM, [to, size]) => self.current_comm(*to, *size)?,
            (h::GET_NS_CURRENT_PID_TGID, [dev, ino, to, size]) => self.ns_pid_tgid(*dev, *ino, *to, *size)?,
            (h::GET_STACK, [ctx, to, size, flags]) => {
                self.check_context(*ctx)?;
                self.get_stack(*to, *size, number(*flags)? as u64)?
            }
            (h::PROBE_READ_USER | h::PROBE_READ_KERNEL, [to, size, from]) => {
                self.probe_read(*to, *size, *from, helper == h::PROBE_READ_USER)?
            }
            (h::PROBE_READ_USER_STR | h::PROBE_READ_KERNEL_STR, [to, size, from]) => {
                self.probe_read_str(*to, *size, *from, helper == h::PROBE_READ_USER_STR)?
            }
            (h::MAP_LOOKUP_ELEM, [map, key]) => return self.lookup(*map, *key, None),
            (h::MAP_LOOKUP_PERCPU_ELEM, [map, key, cpu]) => {
                let cpu = u32::try_from(number(*cpu)?).unwrap_or(u32::MAX);
                return self.lookup(*map, *key, Some(cpu));
            }
            (h::MAP_UPDATE_ELEM, [map, key, value, flags]) => {
                self.update(*map, *key, *value, number(*flags)? as u64)?
            }
            (h::MAP_DELETE_ELEM, [map, key]) => {
                let (map, key) = self.map_and_key(*map, *key)?;
                let machine = &mut *self.machine;
                map_of(&mut machine.stores[map])?.delete(&key, &mut machine.memory)
            }
            (h::FOR_EACH_MAP_ELEM, [map, callback, ctx, flags]) => {
                self.for_each(map_object(*map)?, function(*callback)?, *ctx, number(*flags)?)?
            }
            (h::CALL_FUNCTION | h::CALL_PROCEDURE, [callee, memory, size]) => {
                self.call_with(*callee, *memory, *size, helper == h::CALL_PROCEDURE)?
            }
            (h::LOOP, [count, callback, ctx, flags]) => {
                self.loop_(number(*count)? as u64, function(*callback)?, *ctx, number(*flags)?)?
            }
            (h::RINGBUF_RESERVE, [map, size, flags]) => {
                return self.reserve(map_object(*map)?, number(*size)?, number(*flags)?);
            }
            (h::RINGBUF_SUBMIT | h::RINGBUF_DISCARD, [record, flags]) => {
                self.release(*record, number(*flags)?, helper == h::RINGBUF_SUBMIT)?
            }
            (h::RINGBUF_OUTPUT, [map, from, size, flags]) => {
                self.output(map_object(*map)?, *from, *size, number(*flags)?)?
            }
            _ => return Err(refused("the helper has no meaning here yet")),
        };
        Ok(Val::Number(n))
    }

    /// The function sees the bytes that it is promised and nothing beside them; `updates` says whether what it
    /// leaves there is kept.
    fn call_with(&mut self, callee: Val, memory: Val, size: Val, updates: bool) -> Result<i64, Fault> {
        let (place, size) = (address(memory)?, self.size(size)?);
        let bytes = self.machine.memory.read(place, size)?;
        let object = self.machine.memory.add(ObjectKind::Argument { updates }, bytes, 8);
        let given = Address { object, offset: 0 };
        let result = self.call_function(function(callee)?, &[Val::Address(given)]);
        if updates {
            let left = self.machine.memory.read(given, size)?;
            self.machine.memory.write(place, &left)?;
        }
        self.machine.memory.end(object);
        result
    }

    fn check_context(&self, value: Val) -> Result<(), Fault> {
        self.check_type(value, Type::Ctx)?;
        let whole = Address { object: self.context, offset: 0 };
        if value == Val::Address(whole) { Ok(()) } else { Err(refused("the context itself is wanted")) }
    }

    /// A size that the kernel verifier would see to be in range.
    pub fn size(&self, value: Val) -> Result<usize, Fault> {
        let n = number(value)?;
        match u32::try_from(n) {
            Ok(size) if size <= 1 << 29 => Ok(size as usize),
            _ => Err(Fault::Argument { what: format!("a size of {n} bytes") }),
        }
    }

    fn send_signal(&mut self, signal: i64) -> i64 {
        // valid_signal() of include/linux/signal.h; the argument is a u32.
        match signal as u32 {
            signal if signal <= 64 => {
                self.machine.world.signals.push(signal as i32);
                0
            }
            _ => EINVAL,
        }
    }

    fn map_and_key(&self, map: Val, key: Val) -> Result<(MapRef, Vec<u8>), Fault> {
        let map = map_object(map)?;
        let size = self.machine.module.maps[map].key_size as usize;
        Ok((map, self.machine.memory.read(address(key)?, size)?))
    }

    /// A key's value on the current CPU or, of a per-CPU map, on another.
    fn lookup(&mut self, map: Val, key: Val, cpu: Option<u32>) -> Result<Val, Fault> {
        let (map, key) = self.map_and_key(map, key)?;
        let current = self.machine.world.cpu;
        let state = map_of(&mut self.machine.stores[map])?;
        if cpu.is_some() && !state.has_values_by_cpu() {
            return Err(refused("the map has no values by CPU"));
        }
        Ok(match state.lookup(&key, cpu.unwrap_or(current)) {
            Some(object) => Val::Address(Address { object, offset: 0 }),
            None => Val::Number(0),
        })
    }

    fn update(&mut self, map: Val, key: Val, value: Val, flags: u64) -> Result<i64, Fault> {
        let (map, key) = self.map_and_key(map, key)?;
        let machine = &mut *self.machine;
        let size = machine.module.maps[map].value_size as usize;
        let value = machine.memory.read(address(value)?, size)?;
        let state = map_of(&mut machine.stores[map])?;
        Ok(state.update(&key, &value, flags, machine.world.cpu, &mut machine.memory))
    }

    /// Gives how many elements were visited.
    fn for_each(&mut self, map: MapRef, callback: FuncRef, ctx: Val, flags: i64) -> Result<i64, Fault> {
        let keys = map_of(&mut self.machine.stores[map])?.keys();
        if flags != 0 {
            return Ok(EINVAL);
        }
        let mut visited = 0;
        for key in keys {
            let cpu = self.machine.world.cpu;
            let found = map_of(&mut self.machine.stores[map])?.lookup(&key, cpu);
            let Some(value) = found else { continue };
            let key = self.machine.memory.add(ObjectKind::MapKey(map), key, 8);
            let whole = |object| Val::Address(Address { object, offset: 0 });
            visited += 1;
            if self.callback(callback, &[Val::Map(map), whole(key), whole(value), ctx])? {
                break;
            }
        }
        Ok(visited)
    }

    /// Gives how many rounds were made.
    fn loop_(&mut self, count: u64, callback: FuncRef, ctx: Val, flags: i64) -> Result<i64, Fault> {
        if flags != 0 {
            return Ok(EINVAL);
        }
        // The kernel verifier expands the call in place, and compares all 64 bits there.
        if count > MAX_LOOPS {
            return Ok(E2BIG);
        }
        for round in 0..count as i64 {
            if self.callback(callback, &[Val::Number(round), ctx])? {
                return Ok(round + 1);
            }
        }
        Ok(count as i64)
    }

    /// Whether a callback wants to stop.
    fn callback(&mut self, callback: FuncRef, args: &[Val]) -> Result<bool, Fault> {
        match self.call_function(callback, args)? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(Fault::CallbackResult { value }),
        }
    }

    fn reserve(&mut self, ring: MapRef, size: i64, flags: i64) -> Result<Val, Fault> {
        let machine = &mut *self.machine;
        let Store::Ring(state) = &mut machine.stores[ring] else { return Err(refused("not a ring buffer")) };
        if flags != 0 {
            return Ok(Val::Number(0));
        }
        let Ok(size) = u32::try_from(size) else { return Err(refused("a negative or huge size")) };
        Ok(match state.reserve(u64::from(size), &mut machine.memory) {
            Some(object) => Val::Address(Address { object, offset: 0 }),
            None => Val::Number(0),
        })
    }

    fn release(&mut self, record: Val, flags: i64, submit: bool) -> Result<i64, Fault> {
        self.check_type(record, Type::Ring)?;
        let Address { object, offset } = address(record)?;
        if offset != 0 || flags & !RING_FLAGS != 0 {
            return Err(refused("a record is released by its start, with known flags"));
        }
        let machine = &mut *self.machine;
        // A record that is gone already is found by reading nothing of it.
        machine.memory.read(Address { object, offset }, 0)?;
        for store in machine.stores.values_mut() {
            if let Store::Ring(ring) = store
                && ring.release(object, submit, &machine.memory)
            {
                machine.memory.end(object);
                return Ok(0);
            }
        }
        Err(refused("not a reserved record"))
    }

    fn output(&mut self, ring: MapRef, from: Val, size: Val, flags: i64) -> Result<i64, Fault> {
        let bytes = self.machine.memory.read(address(from)?, self.size(size)?)?;
        let Store::Ring(state) = &mut self.machine.stores[ring] else {
            return Err(refused("not a ring buffer"));
        };
        if flags & !RING_FLAGS != 0 {
            return Ok(EINVAL);
        }
        Ok(if state.output(bytes) { 0 } else { EAGAIN })
    }
}

/// Two 32-bit numbers in one.
fn pair(high: u32, low: u32) -> i64 {
    (u64::from(high) << 32 | u64::from(low)) as i64
}

fn map_object(value: Val) -> Result<MapRef, Fault> {
    match value {
        Val::Map(map) => Ok(map),
        _ => Err(refused("a map is wanted")),
    }
}

fn function(value: Val) -> Result<FuncRef, Fault> {
    match value {
        Val::Callback(func) => Ok(func),
        _ => Err(refused("a callback is wanted")),
    }
}

fn map_of(store: &mut Store) -> Result<&mut MapState, Fault> {
    match store {
        Store::Map(state) => Ok(state),
        Store::Ring(_) => Err(refused("a ring buffer has no elements")),
    }
}
