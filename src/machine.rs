//! What this machine gives a process, and what it may run out of: file descriptors, local ports,
//! the kernel's memory. That is nobody's answer (contract 5, `job.no_resources`). A leaf: it knows
//! no server and no client, only the errors that they hand on.

use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpSocket;

use crate::failure::{Class, Failure, Reason};

/// Files that are open beside those of jobs.
const OTHERS: u64 = 100;

/// What there was not enough of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// This process has as many files and connections open as it may.
    OpenFiles,
    /// The same of the whole machine.
    OpenFilesInAll,
    /// Every port that a connection may begin at is taken.
    LocalPorts,
    /// The kernel has none for a connection.
    Memory,
}

impl Lack {
    /// What failed for it, if it did. Clients wrap what the system said in errors of their own.
    pub fn behind(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            cause = match error.downcast_ref::<io::Error>() {
                Some(error) => {
                    if let Some(errno) = Errno::from_io_error(error) {
                        return Self::of(errno, ports_are_taken);
                    }
                    // Its `source` would pass over what it wraps.
                    error.get_ref().map(|wrapped| wrapped as _)
                }
                None => error.source(),
            };
        }
        None
    }

    fn of(errno: Errno, ports_are_taken: impl FnOnce() -> bool) -> Option<Self> {
        match errno {
            Errno::MFILE => Some(Self::OpenFiles),
            Errno::NFILE => Some(Self::OpenFilesInAll),
            Errno::ADDRNOTAVAIL if ports_are_taken() => Some(Self::LocalPorts),
            Errno::NOBUFS | Errno::NOMEM => Some(Self::Memory),
            _ => None,
        }
    }

    /// Neither the message's fault nor its servers': it waits until there is enough again.
    pub fn failure(self) -> Failure {
        Failure::new(Class::Held, Reason::JOB_NO_RESOURCES, format!("this machine has {self}"))
    }

    /// What there is none of, and what to do about it.
    fn advice(self) -> (&'static str, &'static str) {
        match self {
            Self::OpenFiles => (
                "no file descriptor left for this process",
                "raise its limit of open files (LimitNOFILE, ulimit -n) or lower worker.concurrency",
            ),
            Self::OpenFilesInAll => {
                ("no file descriptor left", "raise fs.file-max, or see who holds so many")
            }
            Self::LocalPorts => (
                "no local port free for a connection",
                "widen net.ipv4.ip_local_port_range or lower worker.concurrency",
            ),
            Self::Memory => (
                "no memory left for a connection",
                "give it more, or see what takes it (net.ipv4.tcp_mem)",
            ),
        }
    }
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, remedy) = self.advice();
        write!(f, "{what}: {remedy}")
    }
}

/// Whether it is for want of a port that a connection has got no address of its own. Where there is
/// no IPv6, every connection to such an address ends with the same error.
fn ports_are_taken() -> bool {
    let takes = |socket: io::Result<TcpSocket>, address: IpAddr| {
        socket.and_then(|socket| socket.bind((address, 0).into())).is_ok()
    };
    takes(TcpSocket::new_v6(), Ipv6Addr::LOCALHOST.into())
        || !takes(TcpSocket::new_v4(), Ipv4Addr::UNSPECIFIED.into())
}

/// Raises the limit of open files as far as this process may: what systemd and shells begin with is
/// meant for programs that use `select`. Says so where it is too low for so many jobs at once.
pub fn raise_open_files(jobs: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    let (was, is) = (shown(limit.current), shown(limit.maximum));
    let raised = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => {
            tracing::info!(was, is, "open files: the limit is as high as it may be");
            limit.maximum
        }
        Err(error) => {
            tracing::warn!(was, %error, "open files: the limit cannot be raised to {is}");
            limit.current
        }
    };
    if let Some(wanted) = open_files_lack(raised, jobs) {
        tracing::warn!(
            limit = shown(raised),
            wanted,
            "open files: too few for worker.concurrency = {jobs}; raise the limit (LimitNOFILE, \
             ulimit -n) or lower worker.concurrency, or recordings will wait (job.no_resources)"
        );
    }
}

/// Leaves no image of this process's memory, which holds secrets and audio, whatever it dies of. A limit
/// of one byte keeps a core from being written and from being piped into a program (`fs/coredump.c`), which
/// a limit of none does not.
pub fn leave_no_core() {
    let none = Rlimit { current: Some(1), maximum: Some(1) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::debug!(%error, "the limit of core dumps stays as it is");
    }
}

/// How many files have to be open at once, where the limit is below that: a connection to CC-FS and
/// one to the store of each job, and some for all else.
fn open_files_lack(limit: Option<u64>, jobs: usize) -> Option<u64> {
    let wanted = u64::try_from(jobs).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(OTHERS);
    limit.filter(|limit| *limit < wanted).map(|_| wanted)
}

fn shown(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(error: impl StdError + 'static) -> Option<Lack> {
        Lack::behind(&error)
    }

    fn system(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.raw_os_error())
    }

    #[test]
    fn what_the_system_says_is_found_however_it_is_wrapped() {
        #[derive(Debug, thiserror::Error)]
        #[error("of a client")]
        struct Wrapped(#[source] io::Error);

        let lacks = [
            (Errno::MFILE, Lack::OpenFiles),
            (Errno::NFILE, Lack::OpenFilesInAll),
            (Errno::NOBUFS, Lack::Memory),
            (Errno::NOMEM, Lack::Memory),
        ];
        for (errno, lack) in lacks {
            assert_eq!(behind(system(errno)), Some(lack));
            assert_eq!(behind(Wrapped(system(errno))), Some(lack));
            assert_eq!(behind(io::Error::other(system(errno))), Some(lack));
            let deep = Wrapped(io::Error::other(Wrapped(io::Error::other(system(errno)))));
            assert_eq!(behind(deep), Some(lack));
        }
        for errno in [Errno::CONNREFUSED, Errno::TIMEDOUT, Errno::NOSPC, Errno::PIPE] {
            assert_eq!(behind(Wrapped(system(errno))), None);
        }
        assert_eq!(behind(io::Error::other("too many open files")), None);
    }

    #[test]
    fn without_ipv6_its_addresses_are_no_lack_of_ports() {
        assert_eq!(Lack::of(Errno::ADDRNOTAVAIL, || true), Some(Lack::LocalPorts));
        assert_eq!(Lack::of(Errno::ADDRNOTAVAIL, || false), None);
    }

    #[test]
    fn twice_the_jobs_and_a_hundred_fit_into_the_limit_of_open_files() {
        assert_eq!(open_files_lack(Some(228), 64), None);
        assert_eq!(open_files_lack(Some(227), 64), Some(228));
        assert_eq!(open_files_lack(Some(1024), 2048), Some(4196));
        assert_eq!(open_files_lack(None, usize::MAX), None);
    }

    #[test]
    fn who_is_held_up_is_told_what_to_do() {
        let failure = Lack::OpenFiles.failure();
        assert_eq!((failure.class, failure.reason.as_str()), (Class::Held, "job.no_resources"));
        assert!(failure.detail.contains("LimitNOFILE"), "{failure}");
    }
}
