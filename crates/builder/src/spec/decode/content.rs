//! `files`, `links`, `directories` and `users`.

use super::binaries::boolean;
use super::path::PathUse;
use super::{Decoder, Fields, scalar};
use crate::spec::model::{Capabilities, DirectorySpec, FileSource, FileSpec, LinkSpec, UserSpec};
use crate::spec::nearest::nearest;
use crate::spec::place::{Place, Placed};
use crate::spec::problem::Problem;
use crate::spec::schema::table;
use crate::spec::shape::clip;
use crate::spec::yaml::{Node, ScalarKind};

impl Decoder<'_> {
    pub(super) fn file(&mut self, node: &Node) -> Option<FileSpec> {
        let fields = Fields::of(node, &table::FILE)?;
        let from = fields.get("from").and_then(|node| self.file_source(node));
        let to = fields.get("to").and_then(|node| self.image_path(node, "to", PathUse::Target));
        let mode = self.mode(fields.get("mode"));
        let owner = self.owner_or_root(fields.get("owner"));
        let exclude = fields.items("exclude").iter().filter_map(|node| self.glob(node)).collect();
        let directory_mode = self.mode(fields.get("directory-mode"));
        let capabilities = self.capabilities(fields.items("capabilities"));
        let replace = boolean(fields.get("replace")).unwrap_or(false);
        let (from, to) = (from?, to?);
        if let FileSource::Pattern(pattern) = &from
            && !to.value.text().ends_with('/')
        {
            self.problem(Problem::PatternTarget { from: clip(pattern.value.text()) }, to.place);
        }
        Some(FileSpec { from, to, mode, directory_mode, owner, exclude, capabilities, replace })
    }

    fn file_source(&mut self, node: &Node) -> Option<FileSource> {
        match scalar(node)?.text.strip_prefix("mab:") {
            Some("ca-certificates") => return Some(FileSource::CaCertificates(Placed::at((), node.place))),
            Some(name) => {
                self.problem(Problem::Carried { name: clip(name) }, node.place);
                return None;
            }
            None => {}
        }
        let path = self.source_path(node)?;
        if path.value.text().contains(FileSource::PATTERN) {
            self.glob(node)?;
            return Some(FileSource::Pattern(path));
        }
        Some(FileSource::Path(path))
    }

    pub(super) fn capabilities(&mut self, nodes: &[Node]) -> Capabilities {
        let mut set = Capabilities::default();
        for node in nodes {
            let Some(text) = scalar(node).map(|scalar| &scalar.text) else { continue };
            let lower = text.to_ascii_lowercase();
            let name = lower.strip_prefix("cap_").unwrap_or(&lower);
            match Capabilities::NAMES.iter().position(|known| *known == name) {
                Some(number) => set.0 |= 1 << number,
                None => {
                    let nearest = nearest(name, Capabilities::NAMES.iter().copied());
                    let nearest = nearest.into_iter().map(str::to_owned).collect();
                    self.problem(Problem::Capability { found: clip(text), nearest }, node.place);
                }
            }
        }
        set
    }

    fn glob(&mut self, node: &Node) -> Option<Placed<String>> {
        let pattern = &scalar(node)?.text;
        let reason = if pattern.is_empty() {
            "it is empty"
        } else if pattern.starts_with('/') {
            "it begins with a slash, but is relative to `from`"
        } else if pattern.split('/').any(|component| matches!(component, "." | "..")) {
            "it has the component `.` or `..`"
        } else if pattern.split('[').skip(1).any(|rest| !rest.contains(']')) {
            "a `[` is not closed"
        } else {
            return Some(Placed::at(pattern.to_string(), node.place));
        };
        self.problem(Problem::Glob { pattern: clip(pattern), reason: reason.to_owned() }, node.place);
        None
    }

    pub(super) fn link(&mut self, node: &Node) -> Option<LinkSpec> {
        let fields = Fields::of(node, &table::LINK)?;
        let path = fields.get("path").and_then(|node| self.image_path(node, "path", PathUse::File));
        let to = fields.get("to").and_then(|node| {
            let to = self.template(node)?;
            if to.value.sample("x").is_empty() {
                self.problem(Problem::EmptyText { what: "to".to_owned() }, node.place);
                return None;
            }
            Some(to)
        });
        let replace = boolean(fields.get("replace")).unwrap_or(false);
        Some(LinkSpec { path: path?, to: to?, replace })
    }

    pub(super) fn directory(&mut self, node: &Node) -> Option<DirectorySpec> {
        let fields = Fields::of(node, &table::DIRECTORY)?;
        let path = fields.get("path").and_then(|node| self.image_path(node, "path", PathUse::Directory));
        let mode = self.mode(fields.get("mode")).unwrap_or(0o755);
        let owner = self.owner_or_root(fields.get("owner"));
        Some(DirectorySpec { path: path?, mode, owner })
    }

    pub(super) fn users(&mut self, nodes: &[Node]) -> Vec<Placed<UserSpec>> {
        let mut users: Vec<Placed<UserSpec>> = Vec::new();
        for node in nodes {
            let Some((user, name_place)) = self.user(node) else { continue };
            if let Some(first) = users.iter().find(|known| known.value.name == user.name) {
                let problem = Problem::UserTwice { name: user.name.clone(), first: first.place };
                self.problem(problem, name_place);
            } else if let Some(first) = users.iter().find(|known| known.value.uid == user.uid) {
                let other = first.value.name.clone();
                let problem = Problem::UidTwice { name: user.name.clone(), uid: user.uid, other, first: first.place };
                self.problem(problem, node.place);
            }
            users.push(Placed::at(user, node.place));
        }
        users
    }

    fn user(&mut self, node: &Node) -> Option<(UserSpec, Place)> {
        let fields = Fields::of(node, &table::USER)?;
        let name = fields.get("name").and_then(|node| Some((self.user_name(node)?.value, node.place)));
        let uid = fields.get("uid").and_then(number);
        let gid = fields.get("gid").and_then(number);
        let group = fields.get("group").and_then(|node| self.user_name(node));
        let comment = fields.get("comment").and_then(|node| self.comment(node));
        let home = fields.get("home").and_then(|node| self.image_path(node, "home", PathUse::Directory));
        let shell = fields.get("shell").and_then(|node| self.shell(node));
        let ((name, place), uid) = (name?, uid?);
        let shell = shell.unwrap_or_else(|| "/sbin/nologin".to_owned());
        let group = group.map_or_else(|| name.clone(), |group| group.value);
        let comment = comment.unwrap_or_default();
        Some((UserSpec { name, uid, gid: gid.unwrap_or(uid), group, comment, home, shell }, place))
    }

    /// The field of passwd that once held the user's room and telephone number.
    fn comment(&mut self, node: &Node) -> Option<String> {
        let text = &scalar(node)?.text;
        let sign = match text {
            text if text.contains(':') => "a colon",
            text if text.contains('\n') => "a line end",
            _ => return Some(text.to_string()),
        };
        self.problem(Problem::PasswdField { what: "comment".to_owned(), sign }, node.place);
        None
    }

    fn shell(&mut self, node: &Node) -> Option<String> {
        let shell = &scalar(node)?.text;
        let reason = if !shell.starts_with('/') {
            "it is not an absolute path"
        } else if shell.contains([':', '\n']) {
            "a colon or line end would end the field"
        } else {
            return Some(shell.to_string());
        };
        self.problem(Problem::Shell { shell: clip(shell), reason }, node.place);
        None
    }
}

pub(super) fn number(node: &Node) -> Option<u32> {
    match scalar(node)?.kind() {
        ScalarKind::Integer(number) => number.try_into().ok(),
        _ => None,
    }
}
