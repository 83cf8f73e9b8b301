//! The filter for system calls: a program for the kernel's classic BPF machine.
//!
//! It stands behind the namespaces, not in their place: what it refuses is refused by the kernel
//! as well, as far as is known, or reaches parts of it that programs have no need for. Programs for
//! another architecture run in an emulator, whose own calls are those of this system.
//!
//! What is refused fails with `EPERM`, but `clone3`: its arguments are out of the filter's sight, and
//! C libraries go back to `clone` where the kernel has none (`ENOSYS`). What waits for the disk succeeds at once.

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, EPERM, SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_USER_NOTIF, sock_filter,
};

use super::step::owners::{PRCTL, notified, opening};
use super::syscalls::{Abi, CLONE, CLONE3, Call, FLUSHING, IOCTL, REFUSED, SOCKET, UNSHARE};

/// Offsets in the kernel's `seccomp_data`. All its systems here are little-endian: the low half of
/// an argument comes first.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

/// All that `clone` and `unshare` call new namespaces. (A new time namespace has the bit of `clone`'s
/// signal, and `clone` cannot make one.)
const NEW_NAMESPACES: u32 = 0x7e02_0000;
const NEW_TIME: u32 = 0x80;
/// Numbers with this bit are those of x32 programs, which nobody has.
const X32: u32 = 0x4000_0000;
/// Typing into a terminal, and the console's own ways to do the same.
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;
/// Sockets that lead past the network namespace (virtual machines' hosts), and the kernel's
/// cryptography, whose sockets are rarely needed and often broken.
const AF_VSOCK: u32 = 40;
const AF_ALG: u32 = 38;

/// Who decides about the calls that give files to others or become others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owners {
    /// The kernel, which refuses them.
    Kernel,
    /// Whoever listens: process 1, in build steps.
    Listener,
}

/// The filter for this system.
pub(super) fn filter(owners: Owners) -> Vec<sock_filter> {
    filter_for(Abi::NATIVE, owners)
}

fn filter_for(abis: &[Abi], owners: Owners) -> Vec<sock_filter> {
    let mut program = vec![load(ARCHITECTURE)];
    for &abi in abis {
        let rules = rules(abi, owners);
        // Too far for a conditional jump.
        program.push(jump(BPF_JEQ, abi.audit(), 1, 0));
        program.push(sock_filter { code: code(BPF_JMP), jt: 0, jf: 0, k: rules.len() as u32 });
        program.extend(rules);
    }
    program.push(answer(SECCOMP_RET_KILL_PROCESS));
    program
}

fn rules(abi: Abi, owners: Owners) -> Vec<sock_filter> {
    let mut rules = vec![load(NUMBER)];
    let no_call = answer(SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
    if abi == Abi::X86_64 {
        rules.extend([jump(BPF_JGE, X32, 0, 1), no_call]);
    }
    for call in REFUSED {
        if let Some(number) = abi.number(call) {
            rules.extend([jump(BPF_JEQ, number, 0, 1), refuse()]);
        }
    }
    for number in FLUSHING.iter().filter_map(|call| abi.number(call)) {
        rules.extend([jump(BPF_JEQ, number, 0, 1), succeed()]);
    }
    if owners == Owners::Listener {
        for number in notified(abi) {
            rules.extend([jump(BPF_JEQ, number, 0, 1), ask()]);
        }
        if let Some(number) = abi.number(&PRCTL) {
            rules.extend([
                jump(BPF_JEQ, number, 0, 4),
                load(argument(0)),
                jump(BPF_JEQ, libc::PR_SET_KEEPCAPS.cast_unsigned(), 0, 1),
                ask(),
                allow(),
            ]);
        }
        for (number, flags) in opening(abi) {
            rules.extend([
                jump(BPF_JEQ, number, 0, 4),
                load(argument(flags)),
                jump(BPF_JSET, libc::O_CREAT.cast_unsigned(), 0, 1),
                ask(),
                allow(),
            ]);
        }
    }
    if let Some(number) = abi.number(&CLONE3) {
        rules.extend([jump(BPF_JEQ, number, 0, 1), no_call]);
    }
    let masked = |call: &Call, index: u32, bits: u32| {
        abi.number(call).map(|number| {
            [jump(BPF_JEQ, number, 0, 4), load(argument(index)), jump(BPF_JSET, bits, 0, 1), refuse(), allow()]
        })
    };
    for rule in
        [masked(&CLONE, 0, NEW_NAMESPACES), masked(&UNSHARE, 0, NEW_NAMESPACES | NEW_TIME)].into_iter().flatten()
    {
        rules.extend(rule);
    }
    // The low half alone: the kernel looks at no more of these arguments.
    let one_of = |call: &Call, index: u32, values: [u32; 2]| {
        abi.number(call).map(|number| {
            [
                jump(BPF_JEQ, number, 0, 5),
                load(argument(index)),
                jump(BPF_JEQ, values[0], 1, 0),
                jump(BPF_JEQ, values[1], 0, 1),
                refuse(),
                allow(),
            ]
        })
    };
    for rule in [one_of(&IOCTL, 1, [TIOCSTI, TIOCLINUX]), one_of(&SOCKET, 0, [AF_VSOCK, AF_ALG])].into_iter().flatten()
    {
        rules.extend(rule);
    }
    rules.push(allow());
    rules
}

/// Instructions have 16 bits for what they are; all that are used here fit.
fn code(bits: u32) -> u16 {
    bits as u16
}

fn load(offset: u32) -> sock_filter {
    sock_filter { code: code(BPF_LD | BPF_W | BPF_ABS), jt: 0, jf: 0, k: offset }
}

fn jump(condition: u32, value: u32, if_so: u8, if_not: u8) -> sock_filter {
    sock_filter { code: code(BPF_JMP | condition | BPF_K), jt: if_so, jf: if_not, k: value }
}

fn answer(value: u32) -> sock_filter {
    sock_filter { code: code(BPF_RET | BPF_K), jt: 0, jf: 0, k: value }
}

fn refuse() -> sock_filter {
    answer(SECCOMP_RET_ERRNO | EPERM as u32)
}

fn succeed() -> sock_filter {
    answer(SECCOMP_RET_ERRNO)
}

fn ask() -> sock_filter {
    answer(SECCOMP_RET_USER_NOTIF)
}

fn allow() -> sock_filter {
    answer(SECCOMP_RET_ALLOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The machine, as far as the filter uses it.
    fn run(program: &[sock_filter], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = Vec::new();
        data.extend(number.to_le_bytes());
        data.extend(architecture.to_le_bytes());
        data.extend([0; 8]);
        arguments.iter().for_each(|argument| data.extend(argument.to_le_bytes()));
        let (mut at, mut accumulator) = (0, 0_u32);
        loop {
            let it = program[at];
            at += 1;
            let k = it.k;
            let branch = |is_so: bool| usize::from(if is_so { it.jt } else { it.jf });
            match u32::from(it.code) {
                0x20 => {
                    let bytes = &data[k as usize..][..4];
                    accumulator = u32::from_le_bytes(bytes.try_into().unwrap());
                }
                0x05 => at += k as usize,
                0x15 => at += branch(accumulator == k),
                0x35 => at += branch(accumulator >= k),
                0x45 => at += branch(accumulator & k != 0),
                0x06 => return k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    const ALL: [Abi; 4] = [Abi::X86_64, Abi::I386, Abi::Aarch64, Abi::Arm];
    const REFUSE: u32 = SECCOMP_RET_ERRNO | EPERM as u32;
    const ABSENT: u32 = SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    #[test]
    fn every_refused_call_is_refused_and_its_neighbours_are_not() {
        for (pair, owners) in [&ALL[..2], &ALL[2..]]
            .into_iter()
            .flat_map(|pair| [Owners::Kernel, Owners::Listener].map(|owners| (pair, owners)))
        {
            let program = filter_for(pair, owners);
            for &abi in pair {
                let refused: Vec<u32> = REFUSED.iter().filter_map(|call| abi.number(call)).collect();
                let flushing: Vec<u32> = FLUSHING.iter().filter_map(|call| abi.number(call)).collect();
                let listened: Vec<u32> = notified(abi).filter(|_| owners == Owners::Listener).collect();
                for number in 0..500 {
                    let answer = run(&program, abi.audit(), number, [0; 6]);
                    let expected = match number {
                        435 => ABSENT,
                        number if refused.contains(&number) => REFUSE,
                        number if flushing.contains(&number) => SECCOMP_RET_ERRNO,
                        number if listened.contains(&number) => SECCOMP_RET_USER_NOTIF,
                        _ => SECCOMP_RET_ALLOW,
                    };
                    assert_eq!(answer, expected, "{abi:?} {number}");
                }
            }
        }
    }

    #[test]
    fn arguments_decide_where_they_can() {
        for pair in [&ALL[..2], &ALL[2..]] {
            let program = filter_for(pair, Owners::Listener);
            for &abi in pair {
                let check = |call: &Call, index: usize, value: u64, expected: u32| {
                    let mut arguments = [0xffff_ffff_0000_0000; 6];
                    arguments[index] = value;
                    let found = run(&program, abi.audit(), abi.number(call).unwrap(), arguments);
                    assert_eq!(found, expected, "{abi:?} {} {value:#x}", call.0);
                };
                // fork, a thread; a user namespace, a network namespace.
                check(&CLONE, 0, 0x0120_0011, SECCOMP_RET_ALLOW);
                check(&CLONE, 0, 0x003d_0f00, SECCOMP_RET_ALLOW);
                check(&CLONE, 0, 0x1000_0011, REFUSE);
                check(&CLONE, 0, 0x4000_0000, REFUSE);
                check(&UNSHARE, 0, 0x200, SECCOMP_RET_ALLOW);
                check(&UNSHARE, 0, 0x2_0000, REFUSE);
                check(&UNSHARE, 0, 0x80, REFUSE);
                // The kernel looks at 32 bits of the request alone.
                check(&IOCTL, 1, 0x5401, SECCOMP_RET_ALLOW);
                check(&IOCTL, 1, 0x5412, REFUSE);
                check(&IOCTL, 1, 0x1_0000_5412, REFUSE);
                check(&IOCTL, 1, 0x541c, REFUSE);
                for (number, flags) in opening(abi) {
                    for (value, expected) in [(0o2, SECCOMP_RET_ALLOW), (0o101, SECCOMP_RET_USER_NOTIF)] {
                        let mut arguments = [0; 6];
                        arguments[flags as usize] = value;
                        assert_eq!(run(&program, abi.audit(), number, arguments), expected);
                    }
                }
                check(&PRCTL, 0, 8, SECCOMP_RET_USER_NOTIF);
                check(&PRCTL, 0, 1, SECCOMP_RET_ALLOW);
                check(&SOCKET, 0, 1, SECCOMP_RET_ALLOW);
                check(&SOCKET, 0, 40, REFUSE);
                check(&SOCKET, 0, 38, REFUSE);
            }
        }
    }

    #[test]
    fn other_kinds_of_programs_are_ended() {
        let program = filter_for(&ALL[..2], Owners::Kernel);
        assert_eq!(run(&program, Abi::Aarch64.audit(), 0, [0; 6]), SECCOMP_RET_KILL_PROCESS);
        assert_eq!(run(&program, Abi::X86_64.audit(), X32 | 1, [0; 6]), ABSENT);
    }
}
