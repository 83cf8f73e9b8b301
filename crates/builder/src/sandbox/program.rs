//! The program of the image: found, and started as the image's user.

use std::ffi::CString;
use std::io::{self, IoSlice, IoSliceMut, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Pid, chdir, ioctl_tiocsctty, setsid};

use super::confine::Confinement;
use super::report::{Failure, FailureKind, setup};
use super::seccomp::Owners;
use super::{Container, sys};
use crate::spec::accounts::{Accounts, Numbers};

/// Most bytes of `/etc/passwd` or `/etc/group`.
const MAX_ACCOUNTS: u64 = 4 << 20;

/// A program that can be started.
pub(super) struct Prepared {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    identity: Numbers,
    shown: String,
}

impl Prepared {
    /// Who it runs as.
    pub(super) fn identity(&self) -> Numbers {
        self.identity
    }
}

/// Finds user and program, and goes to the directory that it starts in. The image's file system is the
/// root by now.
pub(super) fn prepare(container: &Container) -> Result<Prepared, Failure> {
    let passwd = accounts_file("/etc/passwd");
    let accounts = Accounts::of_base(passwd.as_deref(), accounts_file("/etc/group").as_deref(), None);
    let identity = accounts
        .identity(&container.user)
        .map_err(|why| Failure::new(FailureKind::User, &container.user, &io::Error::other(why)))?;
    let directory = &container.directory;
    fs::create_dir_all(directory).map_err(setup(format!("make the working directory {directory}")))?;
    chdir(directory.as_str()).map_err(setup(format!("enter the working directory {directory}")))?;
    let mut environment = container.environment.clone();
    if !environment.iter().any(|(name, _)| name == "HOME") {
        environment.push(("HOME".to_owned(), home(passwd.as_deref().unwrap_or_default(), identity.uid)));
    }
    let name = container.command.first().map_or("", String::as_str);
    let search = environment.iter().find(|(name, _)| name == "PATH").map_or("", |(_, path)| path.as_str());
    let path = find(name, search)?;
    let text = |text: String| CString::new(text).map_err(|error| setup("hand over arguments")(io::Error::from(error)));
    Ok(Prepared {
        path: text(path.to_string_lossy().into_owned())?,
        arguments: container.command.iter().cloned().map(text).collect::<Result<_, _>>()?,
        environment: environment
            .into_iter()
            .map(|(name, value)| text(format!("{name}={value}")))
            .collect::<Result<_, _>>()?,
        identity,
        shown: name.to_owned(),
    })
}

/// A file of the image's that is a regular one and of a size that such files have.
fn accounts_file(path: &str) -> Option<String> {
    // Not to wait for somebody who writes to it, should it be a pipe.
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MAX_ACCOUNTS).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The home directory of a user, `/` where nothing says it.
fn home(passwd: &str, uid: u32) -> String {
    let of = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let own = fields.next()?.trim().parse::<u32>().ok()? == uid;
        fields.nth(2).filter(|home| own && home.starts_with('/')).map(str::to_owned)
    };
    passwd.lines().find_map(of).unwrap_or_else(|| "/".to_owned())
}

/// The program's path: as it is written, where it has a slash, else where `PATH` has it.
fn find(name: &str, search: &str) -> Result<PathBuf, Failure> {
    let directories: Vec<&str> = match name.contains('/') {
        true => vec![""],
        false => search.split(':').map(|directory| if directory.is_empty() { "." } else { directory }).collect(),
    };
    let mut refused = None;
    for directory in directories {
        let path = Path::new(directory).join(name);
        match fs::metadata(&path) {
            Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => return Ok(path),
            Ok(_) => refused = Some(Errno::ACCESS),
            Err(_) => {}
        }
    }
    let (kind, errno) = match refused {
        Some(errno) => (FailureKind::NotExecutable, errno),
        None => (FailureKind::NotFound, Errno::NOENT),
    };
    Err(Failure::new(kind, name, &io::Error::from(errno)))
}

/// A program that has been started.
pub(super) struct Spawned {
    pub(super) pid: Pid,
    /// Where the kernel asks about its calls, if it is to ask.
    pub(super) listener: Option<OwnedFd>,
}

/// Starts it, in a terminal if there is one.
pub(super) fn spawn(prepared: Prepared, terminal: Option<OwnedFd>, owners: Owners) -> Result<Spawned, Failure> {
    let Prepared { path, arguments, environment, identity, shown } = prepared;
    let mut command = Command::new("program");
    if let Some(terminal) = &terminal {
        let stream = || terminal.try_clone().map(Stdio::from).map_err(setup("hand over the terminal"));
        command.stdin(stream()?).stdout(stream()?).stderr(stream()?);
    }
    // What fails before the program begins is said here; the standard library passes a number on alone.
    let (mut said, say) = io::pipe().map_err(setup("make a pipe"))?;
    let say_in_child = say.try_clone().map_err(setup("make a pipe"))?;
    let confinement = Confinement::new(identity, owners);
    let (listener, listener_in_child) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(setup("make a socket"))?;
    let has_terminal = terminal.is_some();
    sys::before_exec(&mut command, move || {
        let fail = |(what, error): (&str, io::Error)| {
            let _ = rustix::io::write(&say_in_child, what.as_bytes());
            error
        };
        session(has_terminal).map_err(|error| fail(("begin a session", error)))?;
        if let Some(listener) = confinement.enter().map_err(fail)? {
            hand_back(&listener_in_child, &listener).map_err(|error| fail(("hand the filter over", error)))?;
        }
        Err(sys::execute(&path, &arguments, &environment))
    });
    let child = command.spawn();
    drop((command, say, terminal));
    match child {
        Ok(child) => {
            let pid = Pid::from_raw(child.id().cast_signed())
                .ok_or_else(|| setup("start the program")(io::Error::from(io::ErrorKind::InvalidData)))?;
            let listener = match owners {
                Owners::Kernel => None,
                Owners::Listener => Some(take_back(&listener).map_err(setup("take the filter over"))?),
            };
            Ok(Spawned { pid, listener })
        }
        Err(error) => {
            let mut what = String::new();
            let _ = said.read_to_string(&mut what);
            Err(match (what.as_str(), error.raw_os_error()) {
                ("", Some(libc::ENOENT)) => {
                    let error = io::Error::other("it is there, but the interpreter that it names is not");
                    Failure::new(FailureKind::NotFound, shown, &error)
                }
                ("", _) => Failure::new(FailureKind::NotExecutable, shown, &error),
                (what, _) => setup(what)(error),
            })
        }
    }
}

/// Gives what a process has opened to its parent.
fn hand_back(socket: &OwnedFd, opened: &OwnedFd) -> io::Result<()> {
    let descriptors = [opened.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(socket, &[IoSlice::new(b"f")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn take_back(socket: &OwnedFd) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)?;
    let taken = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    taken.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn session(has_terminal: bool) -> io::Result<()> {
    setsid()?;
    if has_terminal {
        ioctl_tiocsctty(io::stdin().as_fd())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_is_the_users() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1000:1000:::\nother:x:7:7::/home/other:/bin/sh";
        assert_eq!([0, 7, 1000, 5].map(|uid| home(passwd, uid)), ["/root", "/home/other", "/", "/"]);
    }

    #[test]
    fn programs_are_found_as_shells_find_them() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("a")).unwrap();
        fs::create_dir(at("b")).unwrap();
        fs::create_dir(at("b/directory")).unwrap();
        fs::write(at("a/tool"), "").unwrap();
        fs::write(at("b/tool"), "").unwrap();
        fs::write(at("b/text"), "").unwrap();
        fs::set_permissions(at("b/tool"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let search = format!("/nowhere:{}:{}", at("a").display(), at("b").display());
        assert_eq!(find("tool", &search).unwrap(), at("b/tool"));
        let kind = |name: &str| find(name, &search).unwrap_err().kind;
        assert_eq!(
            [kind("text"), kind("directory"), kind("absent"), kind("/nowhere/tool")],
            [FailureKind::NotExecutable, FailureKind::NotExecutable, FailureKind::NotFound, FailureKind::NotFound]
        );
        assert_eq!(find(&at("b/tool").to_string_lossy(), "").unwrap(), at("b/tool"));
    }
}
