//! Plans for people.

use anstyle::Style;
use builder::plan::{BasePlan, CompilePlan, ImagePlan, LayerOutline, PlatformPlan};

use crate::diagnostics::Look;
use crate::text::{broken, size, tame};

/// How far the second column stands in.
const COLUMN: usize = 11;

/// All plans, with what is compiled for them together at the end.
pub(crate) fn draw_all(plans: &[ImagePlan], look: Look) -> String {
    let mut page = Page { look, text: String::new() };
    for plan in plans {
        page.image(plan);
    }
    // The calls are those of the whole build, and so the same in each plan.
    for call in plans.first().map_or(&[][..], |plan| &plan.compile) {
        page.call(call);
    }
    page.text
}

struct Page {
    look: Look,
    text: String,
}

impl Page {
    fn image(&mut self, plan: &ImagePlan) {
        let name = plan.image.as_deref().unwrap_or("an image without a name");
        self.heading(&format!("{} from {}", name, plan.file));
        self.row("tags", &plan.tags.join(", "));
        self.row("created", &plan.created);
        for (name, value) in &plan.annotations {
            self.row("annotation", &format!("{name}={value}"));
        }
        for platform in &plan.platforms {
            self.platform(platform);
        }
    }

    fn platform(&mut self, plan: &PlatformPlan) {
        self.heading(&plan.platform);
        match &plan.base {
            None => self.row("base", "scratch"),
            Some(base) => self.base(base),
        }
        for program in &plan.programs {
            self.row(program.kind, &format!("{} to {}", program.from, program.path));
        }
        for layer in plan.layers.iter().flatten() {
            self.layer(layer);
        }
        for run in &plan.run {
            let network = if run.network { ", with the host's network" } else { "" };
            self.row("run", &format!("{}{network}", run.command.join(" ")));
        }
        for smoke in &plan.smoke {
            self.row("smoke", &smoke.join(" "));
        }
        if let Some(config) = &plan.config {
            self.row("user", config.user.as_deref().unwrap_or("root"));
            let words = [config.entrypoint.as_deref(), config.cmd.as_deref()];
            self.row("starts", &words.into_iter().flatten().flatten().cloned().collect::<Vec<_>>().join(" "));
        }
    }

    fn base(&mut self, base: &BasePlan) {
        match (&base.digest, &base.manifest) {
            (Some(digest), Some(manifest)) => {
                let layers = format!("{} layer{}", base.layers, if base.layers == 1 { "" } else { "s" });
                self.row("base", &format!("{} at {digest}", base.reference));
                self.row("", &format!("of which {manifest}, {layers}"));
            }
            _ => self.row("base", &format!("{}, which was not looked at", base.reference)),
        }
    }

    fn layer(&mut self, layer: &LayerOutline) {
        let entries = format!("{} entr{}", layer.entries, if layer.entries == 1 { "y" } else { "ies" });
        let bytes = layer.bytes.map_or("not compiled yet".to_owned(), size);
        let what = layer.created_by.strip_prefix("mab: ").unwrap_or(&layer.created_by);
        self.row("layer", &format!("{what}: {entries}, {bytes}"));
    }

    fn call(&mut self, call: &CompilePlan) {
        self.heading(&format!("compile for {}", call.platforms.join(", ")));
        self.row("in", &call.directory);
        self.row("run", &call.command);
        for (name, value) in &call.environment {
            self.row("with", &format!("{name}={value}"));
        }
    }

    fn heading(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let bold = if self.look.colour { Style::new().bold() } else { Style::new() };
        for line in broken(&tame(text), self.look.width) {
            self.text.push_str(&format!("{bold}{line}{bold:#}\n"));
        }
    }

    fn row(&mut self, name: &str, value: &str) {
        let dim = if self.look.colour { Style::new().dimmed() } else { Style::new() };
        let room = self.look.width.saturating_sub(COLUMN + 2);
        for (number, line) in broken(&tame(value), room).into_iter().enumerate() {
            let name = if number == 0 { name } else { "" };
            self.text.push_str(format!("  {dim}{name:<width$}{dim:#}{line}", width = COLUMN).trim_end());
            self.text.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use builder::plan::{ProgramPlan, RunPlan};

    use super::*;
    use crate::pages::is_current;

    fn plan() -> ImagePlan {
        let digest = |text: &str| oci_layout::Digest::of(text.as_bytes());
        let program = |path: &str, kind, from: &str| ProgramPlan { path: path.to_owned(), kind, from: from.to_owned() };
        let layer =
            |created_by: &str, entries, bytes| LayerOutline { created_by: created_by.to_owned(), entries, bytes };
        let config = serde_json::json!({
            "User": "2000:2000", "Entrypoint": ["/usr/bin/app"], "Cmd": ["serve", "--everything"],
        });
        ImagePlan {
            version: 1,
            file: "deploy/build.yaml".to_owned(),
            image: Some("registry.example.com/team/app".to_owned()),
            tags: vec!["v1.2.3".to_owned(), "latest".to_owned()],
            created: "1970-01-01T00:00:01Z".to_owned(),
            format: 1,
            annotations: [("org.opencontainers.image.title".to_owned(), "app".to_owned())].into(),
            platforms: vec![
                PlatformPlan {
                    platform: "linux/amd64".to_owned(),
                    base: Some(BasePlan {
                        reference: "docker.io/library/debian:bookworm-slim".to_owned(),
                        digest: Some(digest("index")),
                        manifest: Some(digest("manifest")),
                        layers: 1,
                    }),
                    programs: vec![
                        program("/usr/bin/app", "rust", "."),
                        program("/usr/bin/helper", "file", "prebuilt/amd64/helper"),
                    ],
                    run: vec![RunPlan {
                        command: ["/bin/sh", "-c", "apt-get install --yes openssl"].map(str::to_owned).to_vec(),
                        network: true,
                    }],
                    smoke: vec![["/usr/bin/app", "--version"].map(str::to_owned).to_vec()],
                    layers: Some(vec![
                        layer("mab: directories, users", 4, Some(1234)),
                        layer("mab: /usr/bin/app", 3, None),
                        layer("mab: /usr/bin/helper", 1, Some(17_000_000)),
                    ]),
                    config: Some(serde_json::from_value(config).unwrap()),
                },
                PlatformPlan {
                    platform: "linux/s390x".to_owned(),
                    base: Some(BasePlan {
                        reference: "example.com/base:1".to_owned(),
                        digest: None,
                        manifest: None,
                        layers: 0,
                    }),
                    programs: vec![program("/usr/bin/app", "rust", ".")],
                    run: Vec::new(),
                    smoke: Vec::new(),
                    layers: None,
                    config: None,
                },
                PlatformPlan {
                    platform: "linux/riscv64".to_owned(),
                    base: None,
                    programs: Vec::new(),
                    run: Vec::new(),
                    smoke: Vec::new(),
                    layers: Some(Vec::new()),
                    config: None,
                },
            ],
            compile: vec![CompilePlan {
                command:
                    "cargo build --profile release --target x86_64-unknown-linux-gnu --package app@1.2.3 --bin app"
                        .to_owned(),
                directory: "/src/app".to_owned(),
                platforms: vec!["linux/amd64".to_owned(), "linux/s390x".to_owned()],
                environment: BTreeMap::from([("CC_x86_64_unknown_linux_gnu".to_owned(), "cc".to_owned())]),
            }],
        }
    }

    #[test]
    fn plans_at_several_widths_with_and_without_colour() {
        for width in [40, 80, 200] {
            let plain = draw_all(&[plan()], Look { width, colour: false });
            is_current(&format!("testdata/snapshots/plan-{width}.txt"), &plain);
            let coloured = draw_all(&[plan()], Look { width, colour: true });
            is_current(&format!("testdata/snapshots/plan-{width}-colour.txt"), &coloured.replace('\u{1b}', "␛"));
            assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
            // Only a word that is longer than the line makes it longer.
            for line in plain.lines().filter(|line| line.chars().count() > width) {
                assert_eq!(line.trim().split(' ').filter(|word| word.len() > 15).count(), 1, "{line}");
            }
        }
    }

    #[test]
    fn r49_control_characters_of_a_plan_do_not_reach_the_terminal() {
        let mut plan = plan();
        plan.platforms[0].programs[0].from = "a\u{1b}[2Jb".to_owned();
        assert!(!draw_all(&[plan], Look { width: 80, colour: false }).contains('\u{1b}'));
    }
}
