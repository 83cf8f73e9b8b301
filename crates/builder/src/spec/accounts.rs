//! Users and groups of an image: those of the base, and those that the file adds.
//!
//! Works on the texts of passwd, group and shadow; lines that it does not understand stay as they
//! are, and new ones go to the end. Names become numbers here, because an image is read where no
//! passwd is at hand (Kubernetes proves `runAsNonRoot` from numbers alone).

use super::diagnostic::Diagnostic;
use super::model::{Id, Owner, UserSpec};
use super::nearest::nearest;
use super::place::{Place, Placed};
use super::problem::list;
use super::render::render_destination;
use super::variable::Variables;

/// Owner of a file, or user of a container, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Numbers {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl std::fmt::Display for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// The users and groups of one platform's image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    users: Vec<Entry>,
    groups: Vec<Entry>,
    passwd: Text,
    group: Text,
    shadow: Text,
}

/// A user with its group, or a group (both numbers are the same then).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    numbers: Numbers,
}

/// A file's text, if it is there, and whether a line was added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Text {
    text: Option<String>,
    changed: bool,
}

impl Text {
    fn add(&mut self, line: &str) {
        let text = self.text.get_or_insert_default();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(line);
        text.push('\n');
        self.changed = true;
    }

    fn changed(&self) -> Option<&str> {
        self.text.as_deref().filter(|_| self.changed)
    }
}

impl Accounts {
    /// Those of a base, from the texts of its files as far as it has them.
    pub fn of_base(passwd: Option<&str>, group: Option<&str>, shadow: Option<&str>) -> Self {
        let field = |line: &str, index: usize| line.split(':').nth(index).map(str::to_owned);
        let entry = |line: &str, gid: usize| {
            let number = |index| field(line, index)?.trim().parse().ok();
            let numbers = Numbers { uid: number(2)?, gid: number(gid)? };
            Some(Entry { name: field(line, 0).filter(|name| !name.is_empty())?, numbers })
        };
        let text = |text: Option<&str>| Text { text: text.map(str::to_owned), changed: false };
        Self {
            users: passwd.unwrap_or_default().lines().filter_map(|line| entry(line, 3)).collect(),
            groups: group.unwrap_or_default().lines().filter_map(|line| entry(line, 2)).collect(),
            passwd: text(passwd),
            group: text(group),
            shadow: text(shadow),
        }
    }

    /// Adds the users that a file asks for. One that the base has with the same numbers already
    /// is left alone. All clashes are told; a user that clashes is not added.
    pub fn add(&mut self, users: &[Placed<UserSpec>], values: &Variables<'_>) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        for user in users {
            if let Some(problem) = self.clash(&user.value, user.place) {
                problems.push(problem);
                continue;
            }
            match user.value.home.as_ref().map(|home| render_destination(home, values)).transpose() {
                Ok(home) => self.add_one(&user.value, home.as_ref().map_or("/", |home| home.path.as_str())),
                Err(problem) => problems.push(*problem),
            }
        }
        problems
    }

    fn clash(&self, user: &UserSpec, place: Option<Place>) -> Option<Diagnostic> {
        let numbers = Numbers { uid: user.uid, gid: user.gid };
        let other = |message: String| {
            let hint = "take a free number or name, or leave the user out to have that of the base";
            Some(Diagnostic::error("user-exists", message, place).hint(hint))
        };
        if let Some(known) = self.users.iter().find(|known| known.name == user.name) {
            return match known.numbers == numbers {
                true => None,
                false => other(format!(
                    "the base has a user `{}` already, with {} rather than {numbers}",
                    user.name, known.numbers
                )),
            };
        }
        if let Some(known) = self.users.iter().find(|known| known.numbers.uid == user.uid) {
            return other(format!("the user id {} is that of `{}` in the base already", user.uid, known.name));
        }
        let named = self.groups.iter().find(|known| known.name == user.group);
        if let Some(known) = named.filter(|known| known.numbers.gid != user.gid) {
            return other(format!(
                "the base has a group `{}` already, with {} rather than {}",
                user.group, known.numbers.gid, user.gid
            ));
        }
        None
    }

    fn add_one(&mut self, user: &UserSpec, home: &str) {
        if self.users.iter().any(|known| known.name == user.name) {
            return;
        }
        let UserSpec { name, uid, gid, group, comment, shell, .. } = user;
        self.passwd.add(&format!("{name}:x:{uid}:{gid}:{comment}:{home}:{shell}"));
        self.users.push(Entry { name: name.clone(), numbers: Numbers { uid: *uid, gid: *gid } });
        if !self.groups.iter().any(|known| known.numbers.gid == *gid) {
            self.group.add(&format!("{group}:x:{gid}:"));
            self.groups.push(Entry { name: group.clone(), numbers: Numbers { uid: *gid, gid: *gid } });
        }
        // No password, and no date: a base without shadow gets none.
        if self.shadow.text.is_some() {
            self.shadow.add(&format!("{name}:!::0:99999:7:::"));
        }
    }

    /// The new text of `/etc/passwd`, if a line was added.
    pub fn passwd(&self) -> Option<&str> {
        self.passwd.changed()
    }

    /// The new text of `/etc/group`, if a line was added.
    pub fn group(&self) -> Option<&str> {
        self.group.changed()
    }

    /// The new text of `/etc/shadow`, if a line was added.
    pub fn shadow(&self) -> Option<&str> {
        self.shadow.changed()
    }

    /// The user of an image's config in numbers, as engines read it (`user[:group]`, names or
    /// numbers; root where it says nothing), or why there is none.
    pub fn identity(&self, text: &str) -> Result<Numbers, String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let known = self.users.iter().find(|known| known.name == user);
        let (uid, own) = match (user, known, user.parse::<u32>()) {
            ("", ..) => (0, self.users.iter().find(|known| known.numbers.uid == 0).map_or(0, |root| root.numbers.gid)),
            (_, Some(known), _) => (known.numbers.uid, known.numbers.gid),
            (_, None, Ok(uid)) => {
                (uid, self.users.iter().find(|known| known.numbers.uid == uid).map_or(0, |known| known.numbers.gid))
            }
            (_, None, Err(_)) => return Err("its /etc/passwd has no such user".to_owned()),
        };
        let gid = match group.filter(|group| !group.is_empty()) {
            None => own,
            Some(name) => match (self.groups.iter().find(|known| known.name == name), name.parse()) {
                (Some(known), _) => known.numbers.gid,
                (None, Ok(gid)) => gid,
                (None, Err(_)) => return Err("its /etc/group has no such group".to_owned()),
            },
        };
        Ok(Numbers { uid, gid })
    }

    /// Groups that name the user among their members.
    pub fn memberships(&self, uid: u32) -> Vec<u32> {
        let Some(user) = self.users.iter().find(|known| known.numbers.uid == uid) else { return Vec::new() };
        let lines = self.group.text.as_deref().unwrap_or_default().lines();
        lines
            .filter_map(|line| {
                let mut fields = line.split(':');
                let (gid, members) = (fields.nth(2)?.trim().parse().ok()?, fields.next()?);
                members.split(',').any(|member| member.trim() == user.name).then_some(gid)
            })
            .collect()
    }

    /// `owner` in numbers. Root where it says nothing; the group of a user is its own, and of a
    /// number that nobody has, the same number.
    pub fn resolve(&self, owner: &Placed<Owner>) -> Result<Numbers, Box<Diagnostic>> {
        let place = owner.place;
        let (uid, own_gid) = match &owner.value.user {
            None => (0, 0),
            Some(Id::Number(uid)) => {
                let known = self.users.iter().find(|known| known.numbers.uid == *uid);
                (*uid, known.map_or(*uid, |known| known.numbers.gid))
            }
            Some(Id::Name(name)) => {
                let known = find(&self.users, "user", name, place)?;
                (known.numbers.uid, known.numbers.gid)
            }
        };
        let gid = match &owner.value.group {
            None => own_gid,
            Some(Id::Number(gid)) => *gid,
            Some(Id::Name(name)) => find(&self.groups, "group", name, place)?.numbers.gid,
        };
        Ok(Numbers { uid, gid })
    }
}

fn find<'a>(entries: &'a [Entry], what: &str, name: &str, place: Option<Place>) -> Result<&'a Entry, Box<Diagnostic>> {
    // The first line counts, as it does for the C library.
    entries.iter().find(|known| known.name == name).ok_or_else(|| {
        let near = nearest(name, entries.iter().map(|known| known.name.as_str()));
        let problem = Diagnostic::error("user-unknown", format!("there is no {what} `{name}` in the image"), place);
        let problem = match near.is_empty() {
            true => problem,
            false => problem.label(format!("did you mean {}?", list(&near, "or"))),
        };
        Box::new(problem.hint("add it under `users`, or write a number"))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::spec::{Facts, Overrides, parse};

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n+::::::\nbroken\nwww-data:x:33:33:www:/:/x\nroot:x:9:9::/:";
    const GROUP: &str = "root:x:0:\nwww-data:x:33:\nstaff:x:50:a,b\n";

    fn base() -> Accounts {
        Accounts::of_base(Some(PASSWD), Some(GROUP), None)
    }

    fn add(accounts: &mut Accounts, users: &str) -> Vec<Diagnostic> {
        let text = format!("version: 1\nusers: [{users}]\n");
        let spec = parse(Path::new("f"), &text, &Overrides::default()).unwrap();
        let facts = Facts::default();
        accounts.add(&spec.users, &Variables { platform: "linux/arm64".parse().ok(), facts: &facts })
    }

    #[track_caller]
    fn resolves(accounts: &Accounts, owner: &str, expect: &str) {
        let text = format!("version: 1\nconfig: {{user: \"{owner}\"}}\n");
        let spec = parse(Path::new("f"), &text, &Overrides::default()).unwrap();
        let got = match accounts.resolve(spec.config.user.as_ref().unwrap()) {
            Ok(numbers) => numbers.to_string(),
            Err(problem) => format!("{} {}", problem.place().unwrap(), problem.message),
        };
        assert_eq!(got, expect, "{owner}");
    }

    #[test]
    fn names_become_numbers() {
        let accounts = base();
        resolves(&accounts, "root", "0:0");
        resolves(&accounts, "www-data", "33:33");
        resolves(&accounts, "www-data:staff", "33:50");
        resolves(&accounts, "33", "33:33");
        resolves(&accounts, "2000", "2000:2000");
        resolves(&accounts, "2000:0", "2000:0");
        resolves(&accounts, "app", "2:16 there is no user `app` in the image");
        resolves(&accounts, "root:stuff", "2:16 there is no group `stuff` in the image");
        assert_eq!(accounts.resolve(&Placed::implied(Owner::default())).unwrap(), Numbers::default());
        resolves(&Accounts::default(), "root", "2:16 there is no user `root` in the image");
        resolves(&Accounts::default(), "0:0", "0:0");
    }

    #[test]
    fn added_users_go_to_the_end_and_the_rest_stays_as_it_is() {
        let mut accounts = base();
        let users = "{name: app, uid: 2000, home: '/data/${platform.arch}/'}, \
            {name: b, uid: 2001, gid: 50, comment: B, shell: /bin/sh}";
        assert_eq!(add(&mut accounts, users), []);
        let expect = format!("{PASSWD}\napp:x:2000:2000::/data/arm64:/sbin/nologin\nb:x:2001:50:B:/:/bin/sh\n");
        assert_eq!(accounts.passwd(), Some(expect.as_str()));
        assert_eq!(accounts.group(), Some(format!("{GROUP}app:x:2000:\n").as_str()));
        assert_eq!(accounts.shadow(), None);
        resolves(&accounts, "app", "2000:2000");
        resolves(&accounts, "b", "2001:50");
    }

    #[test]
    fn a_base_without_files_gets_passwd_and_group_and_one_with_shadow_a_line() {
        let mut accounts = Accounts::default();
        assert_eq!(add(&mut accounts, "{name: app, uid: 1, group: g}"), []);
        assert_eq!(accounts.passwd(), Some("app:x:1:1::/:/sbin/nologin\n"));
        assert_eq!(accounts.group(), Some("g:x:1:\n"));
        let mut accounts = Accounts::of_base(None, None, Some("root:*:1:::::"));
        assert_eq!(add(&mut accounts, "{name: app, uid: 1}"), []);
        assert_eq!(accounts.shadow(), Some("root:*:1:::::\napp:!::0:99999:7:::\n"));
    }

    #[test]
    fn the_user_of_a_config_is_read_as_engines_do() {
        let accounts = base();
        for (text, expect) in [
            ("", Ok("0:0")),
            ("root", Ok("0:0")),
            ("www-data", Ok("33:33")),
            ("33", Ok("33:33")),
            ("33:staff", Ok("33:50")),
            ("www-data:7", Ok("33:7")),
            ("2000", Ok("2000:0")),
            ("app", Err("its /etc/passwd has no such user")),
            ("root:app", Err("its /etc/group has no such group")),
        ] {
            let found = accounts.identity(text).map(|numbers| numbers.to_string());
            assert_eq!(found.as_deref().map_err(String::as_str), expect, "{text}");
        }
        let accounts = Accounts::of_base(Some("a:x:5:5::/:\n"), Some("x:x:7:b,a\ny:x:8:b\n"), None);
        assert_eq!(accounts.memberships(5), [7]);
    }

    #[test]
    fn users_of_the_base_are_not_taken_away() {
        let mut accounts = base();
        assert_eq!(add(&mut accounts, "{name: www-data, uid: 33}"), []);
        let problems =
            add(&mut accounts, "{name: root, uid: 7}, {name: app, uid: 33}, {name: x, uid: 8, group: staff}");
        let problems: Vec<String> =
            problems.iter().map(|it| format!("{} {}", it.place().unwrap(), it.message)).collect();
        assert_eq!(
            problems,
            [
                "2:9 the base has a user `root` already, with 0:0 rather than 7:7",
                "2:31 the user id 33 is that of `www-data` in the base already",
                "2:53 the base has a group `staff` already, with 50 rather than 8",
            ]
        );
        assert_eq!((accounts.passwd(), accounts.group()), (None, None));
    }
}
