//! Files, links, directories and users.

use crate::spec::place::Placed;
use crate::spec::template::Template;

/// A user and group, each by name or number.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Owner {
    /// User; root by default.
    pub user: Option<Id>,
    /// Group; the user's own by default.
    pub group: Option<Id>,
}

/// As engines read it: `user[:group]`.
impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |id: &Id| match id {
            Id::Number(number) => number.to_string(),
            Id::Name(name) => name.clone(),
        };
        f.write_str(&self.user.as_ref().map_or("0".to_owned(), text))?;
        match &self.group {
            Some(group) => write!(f, ":{}", text(group)),
            None => Ok(()),
        }
    }
}

/// A name or a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Id {
    /// A number.
    Number(u32),
    /// A name of the image's passwd or group.
    Name(String),
}

/// A file or tree of the context.
#[derive(Clone, Debug)]
pub struct FileSpec {
    /// Where it comes from.
    pub from: FileSource,
    /// Path in the image; ends in `/` where the source keeps its name below it.
    pub to: Placed<Template>,
    /// Permission bits of files; by default from the source, reduced to 0644 or 0755.
    pub mode: Option<u32>,
    /// Permission bits of directories below a copied one; 0755 by default.
    pub directory_mode: Option<u32>,
    /// Owner; root by default.
    pub owner: Placed<Owner>,
    /// Glob patterns, relative to `from`, of what is left out.
    pub exclude: Vec<Placed<String>>,
    /// File capabilities.
    pub capabilities: Capabilities,
    /// Files of the base may be there already.
    pub replace: bool,
}

/// Where copied files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSource {
    /// File or directory, relative to the build file. A directory's content is copied.
    Path(Placed<Template>),
    /// A pattern of paths, relative to the build file: [`FileSource::PATTERN`] signs are in it.
    /// What matches keeps its path below the last directory that has none of them.
    Pattern(Placed<Template>),
    /// The CA certificates that mab carries, one file.
    CaCertificates(Placed<()>),
}

impl FileSource {
    /// What makes a pattern of a path. `[*]` is a star itself.
    pub const PATTERN: &[char] = &['*', '?', '['];

    /// Whether it may be another for each platform.
    pub fn varies(&self) -> bool {
        match self {
            Self::Path(template) | Self::Pattern(template) => template.value.constant().is_none(),
            Self::CaCertificates(_) => false,
        }
    }
}

/// A set of Linux capabilities, by number; written as permitted and effective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// Names without `cap_`, in the order of their numbers (linux/capability.h).
    pub const NAMES: &[&str] = &[
        "chown",
        "dac_override",
        "dac_read_search",
        "fowner",
        "fsetid",
        "kill",
        "setgid",
        "setuid",
        "setpcap",
        "linux_immutable",
        "net_bind_service",
        "net_broadcast",
        "net_admin",
        "net_raw",
        "ipc_lock",
        "ipc_owner",
        "sys_module",
        "sys_rawio",
        "sys_chroot",
        "sys_ptrace",
        "sys_pacct",
        "sys_admin",
        "sys_boot",
        "sys_nice",
        "sys_resource",
        "sys_time",
        "sys_tty_config",
        "mknod",
        "lease",
        "audit_write",
        "audit_control",
        "setfcap",
        "mac_override",
        "mac_admin",
        "syslog",
        "wake_alarm",
        "block_suspend",
        "audit_read",
        "perfmon",
        "bpf",
        "checkpoint_restore",
    ];
}

/// A symbolic link.
#[derive(Clone, Debug)]
pub struct LinkSpec {
    /// Path in the image.
    pub path: Placed<Template>,
    /// What it points at, as written into the link.
    pub to: Placed<Template>,
    /// A file or link of the base may be there already.
    pub replace: bool,
}

/// A directory.
#[derive(Clone, Debug)]
pub struct DirectorySpec {
    /// Path in the image.
    pub path: Placed<Template>,
    /// Permission bits; 0755 by default.
    pub mode: u32,
    /// Owner; root by default.
    pub owner: Placed<Owner>,
}

/// A user that is added to passwd and group.
#[derive(Clone, Debug)]
pub struct UserSpec {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Group id; the uid by default.
    pub gid: u32,
    /// Name of the group; the user's by default.
    pub group: String,
    /// Full name or the like.
    pub comment: String,
    /// Home; `/` by default, made where it is named.
    pub home: Option<Placed<Template>>,
    /// Login shell; `/sbin/nologin` by default.
    pub shell: String,
}
