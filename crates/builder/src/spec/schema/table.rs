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
const IMAGE_FILE: Kind = Kind::Text(Format::ImageFile);
const MODE: Kind = Kind::Text(Format::Mode);
/// A number is a user id.
const OWNER: Kind = Kind::Literal(Format::Owner);
const WORDS: Kind = Kind::List(&Kind::Text(Format::Word));
const ID: Kind = Kind::Integer(0, u32::MAX as u64 - 1);
const ENV: Kind = Kind::Table(TableKeys::Env, &TEMPLATE);
const LABELS: Kind = Kind::Table(TableKeys::Labels, &TEMPLATE);
const ANNOTATIONS: Kind = Kind::Table(TableKeys::Annotations, &TEMPLATE);
const ANNOTATIONS_DOC: &str = "Annotations. `index:NAME` is one of the index, `manifest:NAME` of each platform's \
     manifest, `descriptor:NAME` of each manifest's entry in the index; `NAME` alone is one of the index and of each \
     manifest, or only of the manifests where its text holds `${platform…}`.";
const CAPABILITIES: Kind = Kind::List(&Kind::Text(Format::Capability));
const CAPABILITIES_DOC: &str = "File capabilities, such as `net_bind_service`, permitted and effective.";
const REPLACE_DOC: &str = "Whether what the base has at that path is replaced; otherwise it is an error.";
const BASE: Kind = Kind::Text(Format::Base);
const SMOKES: Kind = Kind::Either(&[Kind::List(&Kind::Section(&SMOKE)), Kind::Section(&SMOKE)]);
const SMOKES_DOC: &str = "Trial runs: each platform's finished image is started in a sandbox, and must do what is said \
     here before a tag, an `index.json` or an archive names it. One, or a list.";
const RUNS: Kind =
    Kind::List(&Kind::Either(&[SHELL_TEXT, Kind::NonEmpty(&Kind::Literal(Format::Words)), Kind::Section(&RUN)]));
const RUNS_DOC: &str = "Commands that are run on the image of each platform, emulated where it is foreign, after \
     directories, links, users and files and before the programs are put in; what each changes becomes a layer. A \
     text is for the image's `/bin/sh -c`, a list is a program with its arguments. docs/run.md says what they can \
     reach.";
const SHELL_TEXT: Kind = Kind::Text(Format::Words);
const STEPS: Kind = Kind::NonEmpty(&Kind::Section(&STEP));
const STEPS_DOC: &str = "The parts of the image in another order than the usual one, in place of `directories`, `links`, \
     `users`, `files`, `run` and `binaries` at the top.";
/// A number alone is told what it lacks.
const DURATION: Kind = Kind::Literal(Format::Duration);

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
        key("run", RUNS, RUNS_DOC),
        key("steps", STEPS, STEPS_DOC),
        key("config", Kind::Section(&CONFIG), "How a container of the image runs."),
        key("labels", LABELS, "Labels of the image."),
        key("inherit", Kind::Section(&INHERIT), "What is taken over from the base."),
        key("annotations", ANNOTATIONS, ANNOTATIONS_DOC),
        key(
            "infer",
            Kind::Choice(&["annotations", "both", "none"]),
            "Where the `org.opencontainers.image.*` annotations go that are known from Cargo.toml, go.mod and git: \
             source, revision, version, title, description, licenses, authors, url and documentation. `both` is \
             annotations and labels. What the file says itself goes before; an empty text leaves one out.",
        )
        .default("`annotations`"),
        key("created", Kind::Literal(Format::Date), "Date of the image, such as `${git.date}`.")
            .default("SOURCE_DATE_EPOCH where it is set, else 1970-01-01T00:00:00Z"),
        key("layers", Kind::Section(&LAYERS), "How layers are cut and compressed."),
        key("allow", Kind::List(&Kind::Text(Format::Check)), "Identifiers of checks whose finding is let through."),
        key("smoke", SMOKES, SMOKES_DOC),
        key(
            "per-platform",
            Kind::Table(TableKeys::Platforms, &Kind::Section(&PLATFORM)),
            "What is different on some platforms. Maps are joined key by key, a list replaces the whole list.",
        ),
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
        key("to", IMAGE_FILE, "Path in the image.").required(),
        key("mode", MODE, "Permission bits.").default("`\"0755\"`"),
        key("owner", OWNER, "User and group.").default("root"),
        key("capabilities", CAPABILITIES, CAPABILITIES_DOC),
        key("replace", Kind::Boolean, REPLACE_DOC).default("`false`"),
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
        key("toolchain", Kind::Text(Format::Word), "Rust toolchain, by rustup's name, such as `1.85`.")
            .default("the one that cargo takes in that directory"),
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
        key(
            "from",
            Kind::Text(Format::SourcePath),
            "File, or directory, of which the content is copied. Or a pattern such as `static/**/*.html`: what \
             matches keeps its path below the last directory without pattern signs. Or `mab:ca-certificates`, the \
             CA certificates that mab carries.",
        )
        .required(),
        key("to", IMAGE_PATH, "Path in the image. Ends in `/` where a file keeps its name below it.").required(),
        key("mode", MODE, "Permission bits of files.")
            .default("`\"0755\"` where the owner may execute the source, else `\"0644\"`"),
        key("owner", OWNER, "User and group.").default("root"),
        key("directory-mode", MODE, "Permission bits of the directories below a copied one.").default("`\"0755\"`"),
        key("exclude", Kind::List(&Kind::Text(Format::Glob)), "Patterns, relative to `from`, of what is left out."),
        key("capabilities", CAPABILITIES, CAPABILITIES_DOC),
        key("replace", Kind::Boolean, REPLACE_DOC).default("`false`"),
    ],
);

/// One of `links`.
pub static LINK: Section = section(
    "links",
    "A symbolic link.",
    &[
        key("path", IMAGE_FILE, "Path of the link in the image.").required(),
        key("to", Kind::Text(Format::LinkTarget), "What it points at, as it is written into the link.").required(),
        key("replace", Kind::Boolean, REPLACE_DOC).default("`false`"),
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
        key("group", Kind::Text(Format::UserName), "Name of the group.").default("the user's name"),
        key("comment", Kind::Text(Format::PasswdField), "Full name or the like.").default("empty"),
        key("home", IMAGE_PATH, "Home directory; made where it is named.").default("`/`"),
        key("shell", Kind::Text(Format::Shell), "Login shell.").default("`/sbin/nologin`"),
    ],
);

/// `config`.
pub static CONFIG: Section = section(
    "config",
    "How a container of the image runs. What is left out comes from the base.",
    &[
        key("user", OWNER, "User, or `user:group`, by name or number. Written as numbers into the image.")
            .default("the base's, which is 65532:65532 on `static`"),
        key("entrypoint", TEMPLATES, "The program and its first arguments.").default("the first binary"),
        key("cmd", TEMPLATES, "Further arguments, which a caller may replace."),
        key("env", ENV, "Environment, added to the base's."),
        key("workdir", IMAGE_PATH, "Working directory."),
        key("expose", Kind::List(&Kind::Literal(Format::Port)), "Ports, such as `8000/tcp`, added to the base's."),
        key("volumes", Kind::List(&IMAGE_PATH), "Volumes, added to the base's."),
        key("stop-signal", Kind::Literal(Format::Signal), "Signal that asks the program to stop, such as `SIGTERM`."),
        key(
            "healthcheck",
            Kind::Either(&[Kind::Choice(&["none"]), Kind::Section(&HEALTHCHECK)]),
            "Docker's health check; `none` switches the base's off.",
        ),
    ],
);

/// `config.healthcheck`.
pub static HEALTHCHECK: Section = section(
    "config: healthcheck",
    "A program that ends with 0 while the container is well. Not in the OCI format; Docker and Podman read it.",
    &[
        key(
            "test",
            Kind::Either(&[Kind::NonEmpty(&TEMPLATE), Kind::Text(Format::Template)]),
            "The program and its arguments, or a text for the image's shell.",
        )
        .required(),
        key("interval", DURATION, "Between two checks.").default("30s"),
        key("timeout", DURATION, "For one check.").default("30s"),
        key("start-period", DURATION, "Before failures count.").default("0s"),
        key("start-interval", DURATION, "Between two checks during the start period.").default("5s"),
        key("retries", Kind::Integer(1, 1000), "Failures in a row that make a container unhealthy.").default("3"),
    ],
);

/// One of `run`.
pub static RUN: Section = section(
    "run",
    "A command with settings of its own. In its environment are the base's variables and `TARGETPLATFORM`, \
     `TARGETOS`, `TARGETARCH` and `TARGETVARIANT`.",
    &[
        key(
            "command",
            Kind::Either(&[SHELL_TEXT, Kind::NonEmpty(&Kind::Literal(Format::Words))]),
            "A text for the image's shell, or a program and its arguments; taken as they are, without `${…}` of \
             the build file.",
        )
        .required(),
        key("env", ENV, "Environment, for this command alone."),
        key("workdir", IMAGE_PATH, "The directory that it starts in; made where it is not there.").default("`/`"),
        key("user", OWNER, "User, or `user:group`, by name or number.").default("root"),
        key(
            "network",
            Kind::Choice(&["none", "host"]),
            "What it can reach: itself alone, or what this machine can. With `host` the image is not reproducible.",
        )
        .default("`none`"),
        key("timeout", DURATION, "How long it may take.").default("`1h`"),
        key("mounts", Kind::List(&Kind::Section(&MOUNT)), "What it finds beside the image's own files."),
    ],
);

/// One of `mounts` of `run`.
pub static MOUNT: Section = Section {
    name: "run: mounts",
    doc: "What a command finds beside the image's own files; nothing of it gets into the image.",
    keys: &[
        key("to", IMAGE_PATH, "Path in the image; made where it is not there, and gone afterwards.").required(),
        key(
            "cache",
            Kind::Text(Format::Word),
            "Name of a directory in mab's cache, for each platform its own, that is kept from build to build.",
        ),
        key("bind", Kind::Text(Format::SourcePath), "File or directory beside the build file, to be read only."),
        key("tmpfs", Kind::Boolean, "`true` for an empty directory in memory."),
        key("secret", Kind::Text(Format::SourcePath), "File beside the build file, which only this command sees."),
        key(
            "secret-env",
            Kind::Text(Format::EnvName),
            "Variable of the environment, listed in `env`, whose value only this command sees, as a file.",
        ),
    ],
    one_of: &["cache", "bind", "tmpfs", "secret", "secret-env"],
};

/// One of `steps`.
pub static STEP: Section = Section {
    name: "steps",
    doc: "One part of the image, on top of those before it.",
    keys: &[
        key("directories", Kind::List(&Kind::Section(&DIRECTORY)), "Directories."),
        key("links", Kind::List(&Kind::Section(&LINK)), "Symbolic links."),
        key("users", Kind::List(&Kind::Section(&USER)), "Users and groups."),
        key("files", Kind::List(&Kind::Section(&FILE)), "Files and directories."),
        key("run", RUNS, "Commands that are run on the image."),
        key("binaries", Kind::List(&Kind::Section(&BINARY)), "Programs."),
    ],
    one_of: &["directories", "links", "users", "files", "run", "binaries"],
};

/// One of `smoke`.
pub static SMOKE: Section = section(
    "smoke",
    "A trial run of the finished image, with the environment, user and directory that its config says. \
     docs/run.md says what it can reach; `--smoke` what happens where it cannot run.",
    &[
        key("command", Kind::NonEmpty(&TEMPLATE), "The program and its arguments, in the image.")
            .default("the image's entrypoint and arguments"),
        key("args", TEMPLATES, "Arguments for the image's entrypoint, in place of its own; not beside `command`."),
        key("env", ENV, "Environment, added to the image's."),
        key("exit-code", Kind::Integer(0, 255), "What the program must end with.").default("`0`"),
        key("output", TEMPLATE, "Text that its output must have somewhere."),
        key(
            "pattern",
            Kind::Literal(Format::Pattern),
            "Regular expression that its output must match somewhere; `(?m)^…$` for a line.",
        ),
        key("timeout", DURATION, "How long it may take.").default("`60s`"),
        key("network", Kind::Choice(&["none", "host"]), "What it can reach: itself alone, or what this machine can.")
            .default("`none`"),
    ],
);

/// `inherit`.
pub static INHERIT: Section = section(
    "inherit",
    "What is taken over from the base where the file does not say it. OnBuild and ArgsEscaped never are.",
    &[
        key("env", Kind::Boolean, "Environment; what the file sets goes before.").default("`true`"),
        key("workdir", Kind::Boolean, "Working directory.").default("`true`"),
        key("user", Kind::Boolean, "User.").default("`true`"),
        key("stop-signal", Kind::Boolean, "Signal that stops the program.").default("`true`"),
        key("expose", Kind::Boolean, "Ports.").default("`true`"),
        key("volumes", Kind::Boolean, "Volumes.").default("`true`"),
        key("entrypoint", Kind::Boolean, "The entrypoint, where `config` sets none; else it is the first binary.")
            .default("`false`"),
        key("cmd", Kind::Boolean, "The arguments.").default("only where the base's entrypoint stays"),
        key("healthcheck", Kind::Boolean, "The health check.").default("only where the base's entrypoint stays"),
        key("labels", Kind::Boolean, "All labels, or none.")
            .default("those other than `org.opencontainers.*`, `version` and `maintainer`"),
        key("annotations", Kind::Boolean, "Annotations of the base's manifest.").default("`false`"),
    ],
);

/// `layers`.
pub static LAYERS: Section = section(
    "layers",
    "How layers are cut and compressed.",
    &[
        key(
            "compression",
            Kind::Choice(&["gzip", "zstd", "none"]),
            "`gzip` is read everywhere, `zstd` is smaller and faster but older engines do not know it.",
        )
        .default("`gzip`"),
        key(
            "grouping",
            Kind::Choice(&["binary", "kind", "single"]),
            "`binary`: one layer for directories, links, users and files, then one for each binary. `kind`: one for \
             all binaries. `single`: one for everything.",
        )
        .default("`binary`"),
    ],
);

/// One of `per-platform`.
pub static PLATFORM: Section = section(
    "per-platform",
    "What is different on one platform: the same keys as at the top.",
    &[
        key("base", BASE, "What the image stands on."),
        key("binaries", Kind::List(&Kind::Section(&BINARY)), "Programs."),
        key("files", Kind::List(&Kind::Section(&FILE)), "Files and directories."),
        key("links", Kind::List(&Kind::Section(&LINK)), "Symbolic links."),
        key("directories", Kind::List(&Kind::Section(&DIRECTORY)), "Directories."),
        key("users", Kind::List(&Kind::Section(&USER)), "Users and groups."),
        key("run", RUNS, "Commands that are run on the image."),
        key("steps", STEPS, "The parts of the image in another order."),
        key("config", Kind::Section(&CONFIG), "How a container of the image runs."),
        key("inherit", Kind::Section(&INHERIT), "What is taken over from the base."),
        key("labels", LABELS, "Labels."),
        key("annotations", ANNOTATIONS, "Annotations of the platform's manifest and of its descriptor."),
        key("smoke", SMOKES, "Trial runs; an empty list for none."),
        key("allow", Kind::List(&Kind::Text(Format::Check)), "Identifiers of checks whose finding is let through."),
    ],
);
