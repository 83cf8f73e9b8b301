//! What a token is for: `repository:team/app:pull,push` (distribution, "Token Scope Documentation").

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::reference::Repository;

/// A set of rights, by resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Scopes(BTreeMap<String, BTreeSet<String>>);

impl Scopes {
    /// No rights: enough to ask whether one is known at all.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// Reading `repository`.
    pub(crate) fn pull(repository: &Repository) -> Self {
        Self::none().and(repository, &["pull"])
    }

    /// Reading and writing `repository`.
    pub(crate) fn push(repository: &Repository) -> Self {
        Self::none().and(repository, &["pull", "push"])
    }

    /// The same with `actions` on `repository`.
    pub(crate) fn and(mut self, repository: &Repository, actions: &[&str]) -> Self {
        let key = format!("repository:{}", repository.path());
        self.0.entry(key).or_default().extend(actions.iter().map(|&action| action.to_owned()));
        self
    }

    /// Reads the `scope` of a challenge; what is not a scope is left out.
    pub(crate) fn parse(text: &str) -> Self {
        let mut scopes = Self::default();
        for scope in text.split(' ').take(64) {
            let Some((resource, actions)) = scope.rsplit_once(':') else { continue };
            if !resource.contains(':') || scope.len() > 1024 || scope.chars().any(char::is_control) {
                continue;
            }
            let entry = scopes.0.entry(resource.to_owned()).or_default();
            entry.extend(actions.split(',').filter(|action| !action.is_empty()).map(str::to_owned));
        }
        scopes
    }

    /// Both together.
    pub(crate) fn union(mut self, other: &Self) -> Self {
        for (resource, actions) in &other.0 {
            self.0.entry(resource.clone()).or_default().extend(actions.iter().cloned());
        }
        self
    }

    /// Whether a token for `self` does for `wanted`: `*` stands for every action.
    pub(crate) fn covers(&self, wanted: &Self) -> bool {
        wanted.0.iter().all(|(resource, actions)| {
            self.0.get(resource).is_some_and(|held| held.contains("*") || actions.is_subset(held))
        })
    }

    /// Each resource with its actions, as a `scope` parameter.
    pub(crate) fn each(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|(resource, actions)| {
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            format!("{resource}:{}", actions.join(","))
        })
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.each().collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_scopes_cover_smaller_ones() {
        let covers = |held: &str, wanted: &str| Scopes::parse(held).covers(&Scopes::parse(wanted));
        assert!(covers("repository:a:pull,push", "repository:a:pull"));
        assert!(covers("repository:a:*", "repository:a:pull,push,delete"));
        assert!(covers("repository:a:pull repository:b:pull", "repository:b:pull"));
        assert!(covers("repository:a:pull", ""));
        assert!(!covers("repository:a:pull", "repository:a:push"));
        assert!(!covers("repository:a:pull", "repository:b:pull"));
    }

    #[test]
    fn scopes_read_back() {
        let text = "registry:catalog:* repository:a/b:pull,push repository:host:5000/c:pull";
        assert_eq!(Scopes::parse(text).to_string(), text);
        assert_eq!(Scopes::parse("nonsense :x a:b").to_string(), "");
        let both = Scopes::parse("repository:a:pull").union(&Scopes::parse("repository:a:push repository:b:pull"));
        assert_eq!(both.to_string(), "repository:a:pull,push repository:b:pull");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text: String, other in "(repository:[a-z/]{1,5}:[a-z,*]{0,9} ?){0,4}") {
            for text in [text, other] {
                let scopes = Scopes::parse(&text);
                proptest::prop_assert_eq!(&Scopes::parse(&scopes.to_string()), &scopes);
                proptest::prop_assert!(scopes.covers(&scopes));
            }
        }
    }
}
