//! Which calls of the system a command behind walls can not make: those that open new ways into the kernel, or keep something
//! for other commands of the same user. It is about what container runtimes refuse, too.

use libc::{ENOSYS, EPERM, c_long, sock_filter, sock_fprog};
use std::io;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is refused, so that programs do without what they wanted.
    Refused,
    /// It is refused, unless sandboxes may be nested: it makes, enters or changes namespaces and mounts.
    OfSandboxes,
    /// It fails as on a system that does not have it, so that programs take the older call.
    Unknown,
    /// The same, with one of these flags in its first argument.
    RefusedWith(u32),
    /// It is refused without the network, with this first argument.
    OfNetwork(u32),
    /// It fails without the network as on a system that does not have it: its arguments are not to be seen from here.
    HiddenNetwork,
}

use Verdict::{HiddenNetwork, OfNetwork, OfSandboxes, Refused, RefusedWith, Unknown};

/// Namespaces that a process enters with a new one; and the one of time, which has no room in the flags of `clone`.
const NAMESPACES: u32 = 0x7e02_0000;
const NEW_TIME: u32 = 0x80;

/// Sockets that lead to the host of a virtual machine, and are of no network.
const TO_THE_HOST: u32 = libc::AF_VSOCK.unsigned_abs();

/// What a command may do all the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Openings {
    /// It may make namespaces and mounts.
    pub(super) nested_sandboxes: bool,
    /// It has the machine's network.
    pub(super) network: bool,
}

/// The numbers of one kind of programs, and what becomes of these calls.
struct Calls {
    /// How the system calls this kind.
    architecture: u32,
    /// Numbers from here on are of another kind that has the same name.
    below: Option<u32>,
    verdicts: Vec<(u32, Verdict)>,
}

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const NATIVE: u32 = 0xc000_00f3;

/// Programs for 32 bits, which run as well. The numbers are those of the kernel's table for them.
#[cfg(target_arch = "x86_64")]
const FORMER: u32 = 0x4000_0003;

/// All kinds of programs that can run.
fn all() -> Vec<Calls> {
    vec![
        Calls {
            architecture: NATIVE,
            below: cfg!(target_arch = "x86_64").then_some(0x4000_0000),
            verdicts: native(),
        },
        #[cfg(target_arch = "x86_64")]
        Calls {
            architecture: FORMER,
            below: None,
            verdicts: former(),
        },
    ]
}

fn native() -> Vec<(u32, Verdict)> {
    const CALLS: [(c_long, Verdict); 27] = [
        (libc::SYS_clone, RefusedWith(NAMESPACES)),
        (libc::SYS_unshare, RefusedWith(NAMESPACES | NEW_TIME)),
        // Its flags are not to be seen from here.
        (libc::SYS_clone3, Unknown),
        (libc::SYS_setns, OfSandboxes),
        // The keyring of a user is for all its commands.
        (libc::SYS_keyctl, Refused),
        (libc::SYS_add_key, Refused),
        (libc::SYS_request_key, Refused),
        (libc::SYS_bpf, Refused),
        (libc::SYS_perf_event_open, Refused),
        (libc::SYS_userfaultfd, Refused),
        (libc::SYS_io_uring_setup, Unknown),
        (libc::SYS_io_uring_enter, Unknown),
        (libc::SYS_io_uring_register, Unknown),
        (libc::SYS_open_by_handle_at, Refused),
        (libc::SYS_kexec_load, Refused),
        (libc::SYS_mount, OfSandboxes),
        (libc::SYS_umount2, OfSandboxes),
        (libc::SYS_pivot_root, OfSandboxes),
        (libc::SYS_open_tree, OfSandboxes),
        (libc::SYS_move_mount, OfSandboxes),
        (libc::SYS_fsopen, OfSandboxes),
        (libc::SYS_fsconfig, OfSandboxes),
        (libc::SYS_fsmount, OfSandboxes),
        (libc::SYS_fspick, OfSandboxes),
        (libc::SYS_mount_setattr, OfSandboxes),
        (libc::SYS_quotactl, Refused),
        (libc::SYS_socket, OfNetwork(TO_THE_HOST)),
    ];
    let calls = CALLS.into_iter();
    calls
        .filter_map(|(number, verdict)| Some((u32::try_from(number).ok()?, verdict)))
        .collect()
}

#[cfg(target_arch = "x86_64")]
fn former() -> Vec<(u32, Verdict)> {
    const OF_SANDBOXES: [u32; 12] = [346, 21, 22, 52, 217, 428, 429, 430, 431, 432, 433, 442];
    const REFUSED: [u32; 9] = [288, 286, 287, 357, 336, 374, 342, 283, 131];
    let flags = [
        (120, RefusedWith(NAMESPACES)),
        (310, RefusedWith(NAMESPACES | NEW_TIME)),
        (359, OfNetwork(TO_THE_HOST)),
        (102, HiddenNetwork),
    ];
    let unknown = [435, 425, 426, 427].map(|number| (number, Unknown));
    let refused = REFUSED.map(|number| (number, Refused));
    let of_sandboxes = OF_SANDBOXES.map(|number| (number, OfSandboxes));
    let others = unknown.into_iter().chain(refused).chain(of_sandboxes);
    flags.into_iter().chain(others).collect()
}

/// Where the call's number, its architecture and the lower half of its first argument are in what the filter sees.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// The code of a step, which has 16 bits.
#[expect(clippy::cast_possible_truncation, reason = "all codes have 16 bits")]
const fn code(flags: u32) -> u16 {
    flags as u16
}

const LOAD: u16 = code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
const IS: u16 = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
const IS_FROM: u16 = code(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K);
const HAS: u16 = code(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K);
const END: u16 = code(libc::BPF_RET | libc::BPF_K);

const fn step(code: u16, k: u32) -> sock_filter {
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Goes on with the next step if the condition holds, and else behind so many.
const fn unless(code: u16, k: u32, skipped: u8) -> sock_filter {
    sock_filter {
        code,
        jt: 0,
        jf: skipped,
        k,
    }
}

const fn end_with(errno: i32) -> sock_filter {
    step(END, libc::SECCOMP_RET_ERRNO | errno.unsigned_abs())
}

const ALLOW: sock_filter = step(END, libc::SECCOMP_RET_ALLOW);

impl Calls {
    fn steps(&self, openings: Openings) -> Vec<sock_filter> {
        let mut steps = vec![step(LOAD, NUMBER)];
        if let Some(below) = self.below {
            steps.extend([unless(IS_FROM, below, 1), end_with(ENOSYS)]);
        }
        for (number, verdict) in &self.verdicts {
            match verdict {
                OfSandboxes | RefusedWith(_) if openings.nested_sandboxes => {}
                OfNetwork(_) | HiddenNetwork if openings.network => {}
                Refused | OfSandboxes => steps.extend([unless(IS, *number, 1), end_with(EPERM)]),
                Unknown | HiddenNetwork => steps.extend([unless(IS, *number, 1), end_with(ENOSYS)]),
                RefusedWith(flags) => steps.extend(refuse_with(*number, unless(HAS, *flags, 1))),
                OfNetwork(first) => steps.extend(refuse_with(*number, unless(IS, *first, 1))),
            }
        }
        steps.push(ALLOW);
        steps
    }
}

/// Refuses a call if a condition holds of its first argument.
fn refuse_with(number: u32, condition: sock_filter) -> [sock_filter; 5] {
    [
        unless(IS, number, 4),
        step(LOAD, FIRST_ARGUMENT),
        condition,
        end_with(EPERM),
        ALLOW,
    ]
}

/// The filter. Programs of a kind that it does not know can make no call at all.
fn program(openings: Openings) -> Vec<sock_filter> {
    let mut program = Vec::new();
    for calls in all() {
        let steps = calls.steps(openings);
        let length = u8::try_from(steps.len()).unwrap_or(u8::MAX);
        program.extend([
            step(LOAD, ARCHITECTURE),
            unless(IS, calls.architecture, length),
        ]);
        program.extend(steps);
    }
    program.push(end_with(ENOSYS));
    program
}

/// Has this process, and all that it starts, make none of these calls any more, but for what is open. It must not be able to get more rights.
#[expect(unsafe_code, reason = "no crate in use has a call for it")]
pub(super) fn refuse_calls(openings: Openings) -> io::Result<()> {
    let mut program = program(openings);
    let filter = sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program is there until the call is over, which copies it, and the length is its own.
    let done = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the system does with a program: only the steps that there are.
    fn outcome(program: &[sock_filter], architecture: u32, number: u32, argument: u32) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let step = program[at];
            let holds = match step.code {
                LOAD => {
                    value = match step.k {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        FIRST_ARGUMENT => argument,
                        other => panic!("nothing is at {other}"),
                    };
                    at += 1;
                    continue;
                }
                IS => value == step.k,
                IS_FROM => value >= step.k,
                HAS => value & step.k != 0,
                END => return step.k,
                other => panic!("no step {other}"),
            };
            at += 1 + usize::from(if holds { step.jt } else { step.jf });
        }
    }

    const STRICT: Openings = Openings {
        nested_sandboxes: false,
        network: true,
    };

    #[test]
    fn calls_come_to_what_they_are_to() {
        const CLONE_VM_AND_MORE: u32 = 0x003d_0f00;
        const NEW_USER: u32 = 0x1000_0000;
        let strict = program(STRICT);
        let nesting = program(Openings {
            nested_sandboxes: true,
            ..STRICT
        });
        let refused = libc::SECCOMP_RET_ERRNO | 1;
        let unknown = libc::SECCOMP_RET_ERRNO | 38;
        let number = |number: c_long| u32::try_from(number).unwrap();
        for (call, argument, expected) in [
            (libc::SYS_read, 0, libc::SECCOMP_RET_ALLOW),
            (libc::SYS_execve, NEW_USER, libc::SECCOMP_RET_ALLOW),
            (libc::SYS_clone, CLONE_VM_AND_MORE, libc::SECCOMP_RET_ALLOW),
            (libc::SYS_clone, NEW_USER | 17, refused),
            (libc::SYS_unshare, 0x200, libc::SECCOMP_RET_ALLOW),
            (libc::SYS_unshare, NEW_TIME, refused),
            (libc::SYS_unshare, 0x0002_0000, refused),
            (libc::SYS_clone3, 0, unknown),
            (libc::SYS_io_uring_setup, 0, unknown),
            (libc::SYS_keyctl, 0, refused),
            (libc::SYS_mount_setattr, 0, refused),
        ] {
            let found = outcome(&strict, NATIVE, number(call), argument);
            assert_eq!(found, expected, "{call} {argument:x}");
        }
        // Nested sandboxes are made with some of them, and with no others.
        for (call, argument, expected) in [
            (libc::SYS_clone, NEW_USER | 17, libc::SECCOMP_RET_ALLOW),
            (libc::SYS_unshare, NEW_USER, libc::SECCOMP_RET_ALLOW),
            (libc::SYS_mount, 0, libc::SECCOMP_RET_ALLOW),
            (libc::SYS_clone3, 0, unknown),
            (libc::SYS_io_uring_setup, 0, unknown),
            (libc::SYS_keyctl, 0, refused),
            (libc::SYS_bpf, 0, refused),
        ] {
            let found = outcome(&nesting, NATIVE, number(call), argument);
            assert_eq!(found, expected, "{call} {argument:x}");
        }
        // A kind of programs that is not known.
        for program in [strict, nesting] {
            assert_eq!(outcome(&program, 1, 0, 0), unknown);
        }
    }

    #[test]
    fn without_the_network_nothing_leads_to_the_host() {
        let alone = program(Openings {
            network: false,
            ..STRICT
        });
        let connected = program(STRICT);
        let socket = u32::try_from(libc::SYS_socket).unwrap();
        let (refused, unknown) = (libc::SECCOMP_RET_ERRNO | 1, libc::SECCOMP_RET_ERRNO | 38);
        for (architecture, number, first, expected) in [
            (NATIVE, socket, TO_THE_HOST, refused),
            (NATIVE, socket, 2, libc::SECCOMP_RET_ALLOW),
            #[cfg(target_arch = "x86_64")]
            (FORMER, 359, TO_THE_HOST, refused),
            #[cfg(target_arch = "x86_64")]
            (FORMER, 102, 1, unknown),
            (1, 0, 0, unknown),
        ] {
            assert_eq!(outcome(&alone, architecture, number, first), expected);
            let found = outcome(&connected, architecture, number, first);
            assert!(found == libc::SECCOMP_RET_ALLOW || architecture == 1);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn programs_for_32_bits_are_no_way_around() {
        let program = program(STRICT);
        let refused = libc::SECCOMP_RET_ERRNO | 1;
        let (read, clone, keyctl) = (3, 120, 288);
        let of_former = |number, argument| outcome(&program, FORMER, number, argument);
        assert_eq!(of_former(read, 0), libc::SECCOMP_RET_ALLOW);
        assert_eq!(of_former(clone, 0x1000_0011), refused);
        assert_eq!(of_former(keyctl, 0), refused);
        assert_eq!(native().len(), former().len() - 2);
        // The numbers of a third kind, which has the name of the first one.
        let third = outcome(&program, NATIVE, 0x4000_0000 + 250, 0);
        assert_eq!(third, libc::SECCOMP_RET_ERRNO | 38);
    }
}
