//! The table itself. Change a key here and in `decode`; a test says where they differ.

use super::{Format, Key, Kind, Section, TableKeys};

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, doc, required: false, default: "" }
}

impl Key {
    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }
}

const fn section(name: &'static str, doc: &'static str, keys: &'static [Key]) -> Section {
    Section { name, doc, keys, one_of: &[] }
}

const TEMPLATE: Kind = Kind::Literal(Format::Template);
const TEMPLATES: Kind = Kind::List(&TEMPLATE);
const IMAGE_PATH: Kind = Kind::Text(Format::ImagePath);
const MODE: Kind = Kind::Text(Format::Mode);
/// A number is a user id.
const OWNER: Kind = Kind::Literal(Format::Owner);
const WORDS: Kind = Kind::List(&Kind::Text(Format::Word));
const ID: Kind = Kind::Integer(0, u32::MAX as u64 - 1);
const ENV: Kind = Kind::Table(TableKeys::Env, &TEMPLATE);
const LABELS: Kind = Kind::Table(TableKeys::Labels, &TEMPLATE);
const BASE: Kind = Kind::Text(Format::Base);

/// The whole file.
pub static ROOT: Section = section(
    "build file",
    "One file describes one image. Paths are relative to the file.",
    &[
        key("version", Kind::Integer(1, 1), "Version of the format.").required(),
        key("image", Kind::Text(Format::Repository), "Repository that the image is pushed to, without a tag."),
        key("tags", Kind::NonEmpty(&Kind::Literal(Format::Tag)), "Tags, in order.").default("`[latest]`"),
        key("platforms", Kind::NonEmpty(&Kind::Text(Format::Platform)), "Platforms to build for.")
            .default("`[linux/amd64, linux/arm64]`"),
        key(
            "base",
            Kind::Either(&[BASE, Kind::Table(TableKeys::PlatformsAndDefault, &BASE)]),
            "What the image stands on: `scratch` (nothing), `static` (the base that mab carries), a reference such \
             as `docker.io/library/debian:bookworm-slim`, or an image in an OCI layout: `oci:DIRECTORY`, \
             `oci:DIRECTORY:TAG` or `oci:DIRECTORY@DIGEST`. Or a map from platforms to bases, where `default` is \
             the base of the platforms that it does not name.",
        )
        .default("`static`"),
        key(
            "env",
            Kind::List(&Kind::Text(Format::EnvName)),
            "Variables of the environment that `${env.NAME}` may read.",
        )
        .default("none"),
        key("binaries", Kind::List(&Kind::Section(&BINARY)), "Programs, each with its path in the image."),
        key("files", Kind::List(&Kind::Section(&FILE)), "Files and directories that are copied into the image."),
        key("links", Kind::List(&Kind::Section(&LINK)), "Symbolic links."),
        key("directories", Kind::List(&Kind::Section(&DIRECTORY)), "Directories."),
        key("users", Kind::List(&Kind::Section(&USER)), "Users and groups that are added to those of the base."),
        key("config", Kind::Section(&CONFIG), "How a container of the image runs."),
        key("labels", LABELS, "Labels of the image."),
        key("annotations", LABELS, "Annotations of the index and of each platform's manifest."),
        key("steps", Kind::Reserved, ""),
        key("run", Kind::Reserved, ""),
        key("smoke", Kind::Reserved, ""),
    ],
);

/// One of `binaries`.
pub static BINARY: Section = Section {
    name: "binaries",
    doc: "A program: one of `rust`, `go` and `file`, and where it goes.",
    keys: &[
        key(
            "rust",
            Kind::Either(&[Kind::Text(Format::Directory), Kind::Section(&RUST)]),
            "A binary of a Cargo package. `rust: .` is short for `rust: {path: .}`.",
        ),
        key(
            "go",
            Kind::Either(&[Kind::Text(Format::Directory), Kind::Section(&GO)]),
            "A main package of a Go module. `go: ./cmd/agent` is short for `go: {path: ./cmd/agent}`.",
        ),
        key(
            "file",
            Kind::Text(Format::SourcePath),
            "A program that something else has built, such as `prebuilt/${platform.arch}${platform.variant}/helper`.",
        ),
        key("to", IMAGE_PATH, "Path in the image.").required(),
        key("mode", MODE, "Permission bits.").default("`\"0755\"`"),
        key("owner", OWNER, "User and group.").default("root"),
    ],
    one_of: &["rust", "go", "file"],
};

/// `rust` of a binary.
pub static RUST: Section = section(
    "binaries: rust",
    "A binary of a Cargo package.",
    &[
        key("path", Kind::Text(Format::Directory), "Directory of the package or workspace.").required(),
        key("package", Kind::Text(Format::Word), "Package.").default("the only one that has a binary"),
        key("bin", Kind::Text(Format::Word), "Binary.").default("the package's only one"),
        key("features", WORDS, "Features to turn on."),
        key("default-features", Kind::Boolean, "Whether the default features are on.").default("`true`"),
        key("all-features", Kind::Boolean, "Whether all features are on.").default("`false`"),
        key("profile", Kind::Text(Format::Word), "Cargo profile.").default("`release`"),
        key("libc", Kind::Choice(&["gnu", "musl"]), "C library.").default("by the base"),
        key("link", Kind::Choice(&["static", "dynamic"]), "Linking of the C library.").default("by the base"),
        key(
            "glibc",
            Kind::Literal(Format::GlibcVersion),
            "The newest glibc that the program may need, such as `\"2.31\"`.",
        )
        .default("the base's own version"),
        key("target-cpu", Kind::Text(Format::Word), "`-C target-cpu`.").default("by the platform's variant"),
        key("env", ENV, "Variables for cargo. One that would run another program needs `--allow-exec`."),
    ],
);

/// `go` of a binary.
pub static GO: Section = section(
    "binaries: go",
    "A main package of a Go module.",
    &[
        key("path", Kind::Text(Format::Directory), "Directory of the package.").required(),
        key("ldflags", TEMPLATES, "`-ldflags`, each a word of its own."),
        key("tags", WORDS, "Build tags."),
        key("env", ENV, "Variables for go. One that would run another program needs `--allow-exec`."),
    ],
);

/// One of `files`.
pub static FILE: Section = section(
    "files",
    "A file, or a directory with everything in it.",
    &[
        key("from", Kind::Text(Format::SourcePath), "File or directory. Of a directory, the content is copied.")
            .required(),
        key("to", IMAGE_PATH, "Path in the image. Ends in `/` where a file keeps its name below it.").required(),
        key("mode", MODE, "Permission bits of files.")
            .default("`\"0755\"` where the owner may execute the source, else `\"0644\"`"),
        key("owner", OWNER, "User and group.").default("root"),
        key("exclude", Kind::List(&Kind::Text(Format::Glob)), "Patterns, relative to `from`, of what is left out."),
    ],
);

/// One of `links`.
pub static LINK: Section = section(
    "links",
    "A symbolic link.",
    &[
        key("path", IMAGE_PATH, "Path of the link in the image.").required(),
        key("to", Kind::Text(Format::Template), "What it points at, as it is written into the link.").required(),
    ],
);

/// One of `directories`.
pub static DIRECTORY: Section = section(
    "directories",
    "A directory.",
    &[
        key("path", IMAGE_PATH, "Path in the image.").required(),
        key("mode", MODE, "Permission bits.").default("`\"0755\"`"),
        key("owner", OWNER, "User and group.").default("root"),
    ],
);

/// One of `users`.
pub static USER: Section = section(
    "users",
    "A user, and the group of the same name where the base has none with that number.",
    &[
        key("name", Kind::Text(Format::UserName), "Login name.").required(),
        key("uid", ID, "User id.").required(),
        key("gid", ID, "Group id.").default("the user id"),
        key("home", IMAGE_PATH, "Home directory; made where it is named.").default("`/`"),
        key("shell", Kind::Text(Format::Plain), "Login shell.").default("`/sbin/nologin`"),
    ],
);

/// `config`.
pub static CONFIG: Section = section(
    "config",
    "How a container of the image runs. What is left out comes from the base.",
    &[
        key("user", OWNER, "User, or `user:group`, by name or number. Written as numbers into the image."),
        key("entrypoint", TEMPLATES, "The program and its first arguments.").default("the first binary"),
        key("cmd", TEMPLATES, "Further arguments, which a caller may replace."),
        key("env", ENV, "Environment, added to the base's."),
        key("workdir", IMAGE_PATH, "Working directory."),
        key("expose", Kind::List(&Kind::Literal(Format::Port)), "Ports, such as `8000/tcp`, added to the base's."),
        key("volumes", Kind::List(&IMAGE_PATH), "Volumes, added to the base's."),
        key("stop-signal", Kind::Literal(Format::Signal), "Signal that asks the program to stop, such as `SIGTERM`."),
    ],
);
