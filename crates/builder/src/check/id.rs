//! The checks: a stable identifier for each, how bad its finding is, and what it leads to.
//! `docs/checks.md` is made from this table.

use std::fmt;
use std::str::FromStr;

use crate::spec::Severity;

macro_rules! checks {
    ($($id:ident $name:literal $severity:ident: $question:literal, $leads:literal;)*) => {
        /// A check. Its name never changes its meaning: `allow` in build files and `--allow` hold it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the table says what each is")]
        pub enum CheckId { $($id,)* }

        impl CheckId {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$id,)*];

            /// Its name, such as `symbol-version`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$id => $name,)* }
            }

            /// How bad it is when a program that the image starts, or that is put into it, does
            /// not fit.
            pub fn severity(self) -> Severity {
                match self { $(Self::$id => Severity::$severity,)* }
            }

            /// What it asks.
            pub fn question(self) -> &'static str {
                match self { $(Self::$id => $question,)* }
            }

            /// What happens where the answer is no.
            pub fn leads_to(self) -> &'static str {
                match self { $(Self::$id => $leads,)* }
            }
        }
    };
}

checks! {
    Program "program" Error:
        "Is the file a Linux program, and a whole one?",
        "The kernel refuses it: `exec format error`.";
    Machine "machine" Error:
        "Is it for the platform's machine, word size, byte order and ABI?",
        "The kernel refuses it: `exec format error`; or it runs under emulation where nobody expects it.";
    FloatAbi "float-abi" Error:
        "On 32-bit ARM: does it pass floating-point arguments as the platform's libraries do?",
        "Its loader is not there, or numbers arrive wrong.";
    IsaLevel "isa-level" Error:
        "Does it need no instructions beyond the platform's variant? By its notes, ARM attributes or Go's build information.",
        "It ends with an illegal instruction, or glibc refuses it, on machines that the platform promises to run on.";
    Interpreter "interpreter" Error:
        "Is the loader that it asks for in the image, executable and of the same machine?",
        "`no such file or directory`, though the program is there.";
    Libc "libc" Error:
        "Is it linked against the C library that the image has, glibc or musl?",
        "`no such file or directory`, though the program is there.";
    Library "library" Error:
        "Is every library that it needs found where its loader looks, and those that they need in turn?",
        "`error while loading shared libraries`.";
    SymbolVersion "symbol-version" Error:
        "Does the library in the image define every symbol version that is wanted of it?",
        "`version `GLIBC_2.34' not found`.";
    GlibcCeiling "glibc-ceiling" Error:
        "Does it need no newer glibc than `glibc:` of the binary says?",
        "It does not start on the systems that it is promised for.";
    StaticRelocations "static-relocations" Error:
        "Does a static program's own start code apply all of its relocations?",
        "It crashes: pointers that were to be set are not.";
    Script "script" Error:
        "Is the interpreter that a script's first line names in the image?",
        "`no such file or directory`, though the script is there.";
    Entrypoint "entrypoint" Error:
        "Is what the image starts there, through PATH and links, and may its user execute it?",
        "The container does not start.";
    User "user" Error:
        "Does the image have the user and group that it starts as?",
        "The container does not start: `unable to find user`.";
    Workdir "workdir" Error:
        "Is the working directory a directory, or can it be made?",
        "The container does not start: `not a directory`.";
    HiddenFile "hidden-file" Error:
        "Does nothing of the build file hide a file of the base, unless it says `replace: true`?",
        "Programs of the base that use the file break.";
    BasePlatform "base-platform" Error:
        "Are the ELF files of the base for the platform that its manifest claims?",
        "Nothing of the base can be started on the platform.";
    StaticNss "static-nss" Warning:
        "Does a static glibc program look up names only by what is built into it?",
        "Host and user names are not found: it loads `libnss_*.so` of the very glibc that it was linked with, which the image lacks.";
    SetId "set-id" Warning:
        "Are there no set-user-id and set-group-id files?",
        "Whoever gets into the container may become the file's owner, and runtimes with no-new-privileges ignore the bits.";
    ExecStack "exec-stack" Warning:
        "Does no program or library ask for an executable stack?",
        "An overflow on the stack becomes executable code; SELinux may refuse it, and glibc 2.41 does not load such a library later on.";
    TextRelocations "text-relocations" Warning:
        "Is no code changed while it is loaded?",
        "Its code pages are not shared and are writable for a while; SELinux may refuse it.";
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No check has that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no check `{name}`{}", nearest.as_deref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
pub struct UnknownCheck {
    /// As it was written.
    pub name: String,
    /// A check with a similar name.
    pub nearest: Option<String>,
}

impl FromStr for CheckId {
    type Err = UnknownCheck;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|check| check.name() == text);
        found.copied().ok_or_else(|| UnknownCheck {
            name: text.chars().take(64).flat_map(char::escape_debug).collect(),
            nearest: crate::spec::nearest_name(text, Self::ALL.iter().map(|check| check.name())).map(str::to_owned),
        })
    }
}

/// The table of `docs/checks.md`, in Markdown.
pub fn table() -> String {
    let mut text = String::from("| check | asks | where not | leads to |\n| --- | --- | --- | --- |\n");
    for check in CheckId::ALL {
        let row = [check.name(), check.question(), &check.severity().to_string(), check.leads_to()]
            .map(|cell| cell.replace('|', "\\|"));
        text.push_str(&format!("| `{}` | {} | {} | {} |\n", row[0], row[1], row[2], row[3]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_misspelt_ones_answered() {
        for check in CheckId::ALL {
            assert_eq!(check.name().parse(), Ok(*check));
        }
        let error = "symbol-versions".parse::<CheckId>().unwrap_err().to_string();
        assert_eq!(error, "there is no check `symbol-versions`; did you mean `symbol-version`?");
        assert_eq!("zzz".parse::<CheckId>().unwrap_err().to_string(), "there is no check `zzz`");
    }

    /// With MAB_WRITE=1 the page is written anew.
    #[test]
    fn the_page_has_the_table() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/checks.md");
        let page = fs_err::read_to_string(&path).unwrap();
        let (begin, end) = ("<!-- checks: begin -->\n", "<!-- checks: end -->");
        let (before, rest) = page.split_once(begin).unwrap();
        let (found, after) = rest.split_once(end).unwrap();
        if std::env::var_os("MAB_WRITE").is_some() {
            fs_err::write(&path, format!("{before}{begin}{}{end}{after}", table())).unwrap();
        } else {
            assert_eq!(found, table(), "write it anew: MAB_WRITE=1 cargo test -p builder the_page_has_the_table");
        }
    }

    #[test]
    fn each_check_is_seen_with_real_programs() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/gate.sh");
        let tests = fs_err::read_to_string(path).unwrap();
        let (_, warnings) = tests.split_once("\ntest_warnings() {").unwrap();
        let (warnings, _) = warnings.split_once("\n}\n").unwrap();
        for check in CheckId::ALL {
            let name = check.name();
            match check.severity() {
                Severity::Error => {
                    let (_, test) = tests.split_once(&format!("\ntest_{}() {{", name.replace('-', "_"))).expect(name);
                    let (test, _) = test.split_once("\n}\n").unwrap();
                    let is_forced = ["forced", "--allow"].iter().any(|how| test.contains(&format!("{how} {name}")));
                    assert!(is_forced && test.contains("fail") | test.contains("run qemu"), "{name}: seen to fail");
                }
                Severity::Warning => assert!(warnings.contains(&format!("[{name}]")), "{name}"),
            }
        }
    }
}
