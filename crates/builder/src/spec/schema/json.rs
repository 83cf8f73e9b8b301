//! The JSON Schema of the build file (draft 7, which every editor reads), made from the table.
//!
//! It says what a schema can say; what depends on two places of a file (clashing paths, users
//! that are there twice) only [`crate::spec::parse`] knows. It refuses nothing that mab takes, but for
//! odd spellings: a platform or signal in mixed case.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Format, Kind, ROOT, Section, TableKeys};
use crate::check::CheckId;
use crate::spec::decode::SIGNALS;
use crate::spec::model::Capabilities;
use crate::spec::variable::VARIABLES;
use crate::target::TargetPlatform;

/// The whole schema.
pub fn json_schema() -> Value {
    let mut definitions = BTreeMap::new();
    let mut schema = section(&ROOT, &mut definitions);
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("mab build file");
    definitions.insert("template".to_owned(), json!({ "type": "string", "pattern": template_pattern() }));
    definitions.insert("platform".to_owned(), json!({ "enum": platforms() }));
    schema["definitions"] = json!(definitions);
    schema
}

fn section(section: &'static Section, definitions: &mut BTreeMap<String, Value>) -> Value {
    let mut properties = BTreeMap::new();
    for key in section.keys {
        let mut value = kind(&key.kind, definitions);
        let default = match key.default {
            "" => String::new(),
            default => format!(" Default: {default}."),
        };
        // A reference hides what stands beside it (draft 7), so it gets a wrapping of its own.
        if value.get("$ref").is_some() {
            value = json!({ "allOf": [value] });
        }
        value["description"] = json!(format!("{}{default}", key.doc));
        properties.insert(key.name, value);
    }
    let required: Vec<&str> = section.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = json!({
        "type": "object",
        "description": section.doc,
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !section.one_of.is_empty() {
        let one_of: Vec<Value> = section.one_of.iter().map(|name| json!({ "required": [name] })).collect();
        schema["oneOf"] = json!(one_of);
    }
    schema
}

fn kind(kind_of: &'static Kind, definitions: &mut BTreeMap<String, Value>) -> Value {
    match kind_of {
        Kind::Text(format) => text(*format),
        Kind::Literal(format) => literal(*format),
        Kind::Integer(least, most) if least == most => json!({ "const": least }),
        Kind::Integer(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::List(inner) => json!({ "type": "array", "items": kind(inner, definitions) }),
        Kind::NonEmpty(inner @ Kind::Text(Format::Platform)) => {
            json!({ "type": "array", "minItems": 1, "uniqueItems": true, "items": kind(inner, definitions) })
        }
        Kind::NonEmpty(inner) => json!({ "type": "array", "minItems": 1, "items": kind(inner, definitions) }),
        Kind::Table(keys, inner) => {
            let inner = kind(inner, definitions);
            json!({ "type": "object", "propertyNames": table_keys(*keys), "additionalProperties": inner })
        }
        Kind::Section(inner) => {
            let name = inner.name.replace(": ", "-");
            if !definitions.contains_key(&name) {
                // First in the way of the same section within itself.
                definitions.insert(name.clone(), Value::Null);
                let schema = section(inner, definitions);
                definitions.insert(name.clone(), schema);
            }
            json!({ "$ref": format!("#/definitions/{name}") })
        }
        Kind::Either(kinds) => {
            let any_of: Vec<Value> = kinds.iter().map(|it| kind(it, definitions)).collect();
            json!({ "anyOf": any_of })
        }
    }
}

/// No `.`, `..`, empty or overlong name, and no whiteout.
const IMAGE_PATH: &str = r"^/(?!(?:.*/)?\.\.?(?:/|$))(?!.*//)(?!(?:.*/)?\.wh\.)(?!.*[^/]{256})";
/// One part of a repository's path.
const NAME: &str = "[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*";
/// A user or group by number or name.
const ID: &str = "(?:[0-9]{1,10}|[A-Za-z_][A-Za-z0-9_.-]{0,31}[$]?)";

/// The signals' names, upper or lower case, with `SIG` or without, and numbers.
fn signal_pattern() -> String {
    let names: Vec<&str> = SIGNALS.iter().map(|name| name.trim_start_matches("SIG")).collect();
    let lower = names.join("|").to_ascii_lowercase();
    format!(
        "^(?:(?:SIG)?(?:{}|RTMIN(?:[+][0-9]+)?|RTMAX(?:-[0-9]+)?)|(?:sig)?(?:{lower})|[0-9]{{1,2}})$",
        names.join("|")
    )
}

fn text(format: Format) -> Value {
    let template = || json!({ "$ref": "#/definitions/template" });
    let with = |pattern: &str| json!({ "allOf": [template(), { "pattern": pattern }] });
    let plain = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    match format {
        Format::Template => template(),
        Format::LinkTarget => with("."),
        Format::Date => with(r"^[0-9]{1,11}$|^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+(?:[Zz]|[+-][0-9:]+)$|\$\{"),
        Format::ImagePath => with(IMAGE_PATH),
        Format::ImageFile => with(&format!("{IMAGE_PATH}.*[^/]$")),
        Format::SourcePath => with(r"^(?!/)(?!(?:.*/)?\.\.(?:/|$))(?!mab:(?!ca-certificates$))."),
        Format::Tag => {
            with(r"^(?![.-])(?!.*\$\{platform)(?:[A-Za-z0-9_.-]{1,128}|(?=.*\$\{)(?:[A-Za-z0-9_.-]|\$\{[^}]*\})+)$")
        }
        Format::Directory => plain(r"^(?!.*\$\{)[^/]"),
        Format::Mode => plain("^(?:0o)?0*[0-7]{3,4}$"),
        Format::Owner => plain(&format!("^{ID}(?::{ID})?$")),
        Format::UserName => plain(r"^(?=.{1,32}$)[A-Za-z_][A-Za-z0-9_.-]*\$?$"),
        Format::Shell => plain("^/[^:\n]*$"),
        Format::PasswdField => plain("^[^:\n]*$"),
        Format::Platform => json!({ "$ref": "#/definitions/platform" }),
        Format::Base => plain(
            r"^(?!oci:)(?!.*://)(?!.*\$\{)\S+$|^oci:(?!.*\$\{)(?:[^@]*[^@:]|[^@]+@sha256:[0-9a-f]{64}|[^@]+@sha512:[0-9a-f]{128})$",
        ),
        Format::Repository => {
            plain(&format!(r"^(?:(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?/)?{NAME}(?:/{NAME})*$"))
        }
        Format::Port => plain("^[0-9]{1,5}(?:-[0-9]{1,5})?(?:/(?:[Tt][Cc][Pp]|[Uu][Dd][Pp]|[Ss][Cc][Tt][Pp]))?$"),
        Format::Signal => plain(&signal_pattern()),
        Format::Glob => plain(r"^(?!/)(?!(?:.*/)?\.\.?(?:/|$))."),
        Format::GlibcVersion => plain(r"^[0-9]+\.[0-9]+$"),
        Format::Word => plain(r"^[^\s,-][^\s,]*$"),
        Format::Check => json!({ "enum": CheckId::ALL.iter().map(|check| check.name()).collect::<Vec<_>>() }),
        Format::EnvName => plain("^[A-Za-z_][A-Za-z0-9_]*$"),
        Format::Words => json!({ "type": "string" }),
        Format::Pattern => json!({ "type": "string", "format": "regex" }),
        Format::Duration => plain("^(?:[0-9]+(?:h|m|s|ms|us|ns))+$"),
        Format::Capability => {
            let names: Vec<String> =
                Capabilities::NAMES.iter().flat_map(|name| ["", "cap_", "CAP_"].map(|it| spelled(it, name))).collect();
            json!({ "enum": names })
        }
    }
}

fn spelled(prefix: &str, name: &str) -> String {
    let name = format!("{prefix}{name}");
    if prefix == "CAP_" { name.to_ascii_uppercase() } else { name }
}

/// A text that may be written as a number or truth value.
fn literal(format: Format) -> Value {
    let number = match format {
        Format::Port => json!({ "type": "integer", "minimum": 1, "maximum": u16::MAX }),
        Format::Signal => json!({ "type": "integer", "minimum": 1, "maximum": 64 }),
        Format::Owner => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX - 1 }),
        Format::Date => json!({ "type": "integer", "minimum": 0 }),
        Format::Duration => return text(format),
        Format::GlibcVersion => json!({ "type": "number", "not": { "type": "integer" } }),
        _ => json!({ "type": ["number", "boolean"] }),
    };
    json!({ "anyOf": [text(format), number] })
}

fn table_keys(keys: TableKeys) -> Value {
    match keys {
        TableKeys::Env => json!({ "pattern": r"^[^=\s]+$" }),
        TableKeys::Labels => json!({ "pattern": r"^[^\x00-\x1f\x7f]+$" }),
        TableKeys::Annotations => json!({ "pattern": r"^(?:(?:index|manifest|descriptor):\S+|[^\s:]+)$" }),
        TableKeys::Platforms => json!({ "$ref": "#/definitions/platform" }),
        TableKeys::PlatformsAndDefault => {
            json!({ "anyOf": [{ "const": "default" }, { "$ref": "#/definitions/platform" }] })
        }
    }
}

/// Text, `$$` and `${name}` with a known name.
fn template_pattern() -> String {
    let names: Vec<String> = VARIABLES.iter().map(|(name, _)| name.replace('.', r"\.")).collect();
    format!(
        r"^(?:[^$\x00-\x08\x0b-\x1f\x7f]|\$\$|\$\{{(?:{}|env\.[A-Za-z_][A-Za-z0-9_]*)(?::-[^}}]*)?\}})*$",
        names.join("|")
    )
}

/// Every spelling of every platform that mab builds for: the canonical ones first.
fn platforms() -> Vec<String> {
    let mut known: Vec<String> = TargetPlatform::all().map(|platform| platform.to_string()).collect();
    let architectures = [
        "386", "i386", "amd64", "x86_64", "x86-64", "arm", "armhf", "armel", "arm64", "aarch64", "loong64", "mips64le",
        "ppc64le", "riscv64", "s390x",
    ];
    let variants = ["", "/v1", "/v2", "/v3", "/v4", "/v5", "/v6", "/v7", "/v8", "/5", "/6", "/7", "/8"];
    for architecture in architectures {
        for variant in variants {
            let spelling = format!("linux/{architecture}{variant}");
            if spelling.parse::<TargetPlatform>().is_ok() && !known.contains(&spelling) {
                known.push(spelling);
            }
        }
    }
    known
}
