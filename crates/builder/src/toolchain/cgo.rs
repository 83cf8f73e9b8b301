//! Whether a Go program has C in it.
//!
//! For another machine's architecture go switches cgo off without a word, and packages that
//! need it compile to something that fails when it runs. So its own list of dependencies is
//! asked, and cgo is on exactly where a package outside the standard library has C in it. The
//! standard library's own use of C (name look-ups) would make a program depend on the base for
//! nothing.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::ToolContext;
use super::go_inputs::Settings;
use super::request::GoProgram;
use crate::process::{Command, Environment, ProcessError};

/// What go says about a package and everything that it imports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The name that its files begin with; nothing where go cannot tell.
    pub(super) package: Option<String>,
    /// The first package with C in it.
    pub(super) cgo: Option<String>,
}

/// Answers that were given already. One platform stands for all: a package that has C in it for
/// some architectures alone has not been seen.
#[derive(Default)]
pub(super) struct Known(HashMap<String, (Facts, Arc<Settings>)>);

impl Known {
    /// Asks go once for each program.
    pub(super) fn of(
        &mut self,
        program: &GoProgram,
        go: &Path,
        env: &Environment,
        context: &ToolContext<'_>,
    ) -> Result<(Facts, Arc<Settings>), ProcessError> {
        let key = format!("{:?} {:?} {:?}", program.directory, program.tags, program.env);
        if let Some(known) = self.0.get(&key) {
            return Ok(known.clone());
        }
        let own = env;
        let mut env = env.clone();
        env.set("CGO_ENABLED", "1");
        let format =
            "{{if not .DepOnly}}main {{.Name}}{{end}}\n{{if and .CgoFiles (not .Standard)}}cgo {{.ImportPath}}{{end}}";
        let mut command = Command::new(go, &program.directory, env).args(["list", "-deps", "-f", format]);
        if !program.tags.is_empty() {
            command = command.arg(format!("-tags={}", program.tags.join(",")));
        }
        let command = command.arg(".");
        // Neither waits for the other's answer.
        let (listed, settings) = std::thread::scope(|scope| {
            let settings = scope.spawn(|| Settings::ask(go, &program.directory, own, context));
            let listed = context.children.capture(&command);
            (listed, settings.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let output = listed?;
        // What is wrong with the package is said better by the build.
        let facts = if output.status.success() { Facts::of(&output.stdout) } else { Facts::default() };
        let known = (facts, Arc::new(settings?));
        self.0.insert(key, known.clone());
        Ok(known)
    }
}

impl Facts {
    fn of(answer: &[u8]) -> Self {
        let answer = String::from_utf8_lossy(answer);
        let first = |prefix: &str| answer.lines().find_map(|line| line.strip_prefix(prefix)).map(str::to_owned);
        Self { package: first("main "), cgo: first("cgo ") }
    }
}
