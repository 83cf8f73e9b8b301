//! Small shell scripts that stand for a compiler with arguments, where only a program's name can
//! be given.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use oci_layout::Digest;

/// Writes scripts for a target below `work_dir`, or finds them there; their paths.
pub(super) fn write_all<const N: usize>(
    work_dir: &Path,
    triple: &str,
    scripts: [(&str, String); N],
) -> std::io::Result<[String; N]> {
    let all: String = scripts.iter().map(|(_, text)| text.as_str()).collect();
    // The directory's name tells apart what other versions of mab, or of the compiler, have written.
    let directory = work_dir.join("tools").join(format!("{triple}-{}", Digest::of(all.as_bytes()).short()));
    for (name, text) in &scripts {
        let path = directory.join(name);
        if !path.exists() {
            write(&directory, &path, text)?;
        }
    }
    Ok(scripts.map(|(name, _)| directory.join(name).to_string_lossy().into_owned()))
}

pub(super) fn write(directory: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    fs_err::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    fs_err::set_permissions(file.path(), std::fs::Permissions::from_mode(0o755))?;
    // Closed before it is named: a script that is open for writing cannot be started.
    file.into_temp_path().persist(path).map_err(|error| error.error)
}

/// As it stands between double quotes in a shell script.
pub(super) fn quoted(text: &OsStr) -> String {
    let mut quoted = String::new();
    for c in text.to_string_lossy().chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}
