//! Templates with values, where a mistake is told with its place.

use std::borrow::Cow;

use jiff::Timestamp;
use oci_layout::ImagePath;
use registry_client::Tag;

use super::decode::{destination, file_fault, source_fault, tag_of};
use super::diagnostic::Diagnostic;
use super::place::Placed;
use super::problem::Problem;
use super::shape::clip;
use super::template::Template;
use super::variable::Variables;

/// The date that `template` is with `values`: RFC 3339, or seconds since 1970.
pub fn render_date(template: &Placed<Template>, values: &Variables<'_>) -> Result<Timestamp, Box<Diagnostic>> {
    let text = render(template, values)?;
    date(&text).ok_or_else(|| Box::new(Problem::Date { found: clip(&text) }.at(template.place)))
}

/// Reads a date from the year 1970 on; layers and Docker know none before.
pub(super) fn date(text: &str) -> Option<Timestamp> {
    let date = match text.parse::<i64>() {
        Ok(seconds) => Timestamp::from_second(seconds).ok()?,
        Err(_) => text.parse().ok()?,
    };
    (date >= Timestamp::UNIX_EPOCH).then_some(date)
}

/// Where something goes in the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The path.
    pub path: ImagePath,
    /// It was written with a slash at its end: a file keeps its name below it.
    pub below: bool,
}

/// The text of `template` with `values`.
pub fn render(template: &Placed<Template>, values: &Variables<'_>) -> Result<String, Box<Diagnostic>> {
    template.value.render(values).map_err(|error| {
        let place = template.place.map(|place| place.within(template.value.text(), error.range.clone()));
        Box::new(Problem::NoValue { reason: error.to_string() }.at(place))
    })
}

/// The same, without a copy where it has no variables.
fn text<'a>(template: &'a Placed<Template>, values: &Variables<'_>) -> Result<Cow<'a, str>, Box<Diagnostic>> {
    match template.value.constant() {
        Some(text) => Ok(Cow::Borrowed(text)),
        None => render(template, values).map(Cow::Owned),
    }
}

/// The tag that `template` is with `values`.
pub fn render_tag(template: &Placed<Template>, values: &Variables<'_>) -> Result<Tag, Box<Diagnostic>> {
    let text = render(template, values)?;
    tag_of(&text).map_err(|problem| Box::new(problem.at(template.place)))
}

/// The path below the build file's directory that `template` is with `values`. That no link on
/// the way leads out of it is for who opens it.
pub fn render_source<'a>(
    template: &'a Placed<Template>,
    values: &Variables<'_>,
) -> Result<Cow<'a, str>, Box<Diagnostic>> {
    let text = text(template, values)?;
    match source_fault(&text) {
        Some(reason) => Err(Box::new(Problem::SourcePath { path: clip(&text), reason }.at(template.place))),
        None => Ok(text),
    }
}

/// The path in the image of a file or link that `template` is with `values`.
pub fn render_file(template: &Placed<Template>, values: &Variables<'_>) -> Result<ImagePath, Box<Diagnostic>> {
    let Destination { path, below } = render_destination(template, values)?;
    match file_fault(&template.value, &(path.clone(), below)) {
        Some(problem) => Err(Box::new(problem.at(template.place))),
        None => Ok(path),
    }
}

/// The path in the image that `template` is with `values`.
pub fn render_destination(template: &Placed<Template>, values: &Variables<'_>) -> Result<Destination, Box<Diagnostic>> {
    let text = text(template, values)?;
    match destination(&text) {
        Ok((path, below)) => Ok(Destination { path, below }),
        Err(error) => Err(Box::new(Problem::ImagePath { reason: error.to_string() }.at(template.place))),
    }
}
