//! Templates with values, where a mistake is told with its place.

use oci_layout::ImagePath;

use super::decode::destination;
use super::diagnostic::Diagnostic;
use super::place::Placed;
use super::problem::Problem;
use super::template::Template;
use super::variable::Variables;

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

/// The path in the image that `template` is with `values`.
pub fn render_destination(template: &Placed<Template>, values: &Variables<'_>) -> Result<Destination, Box<Diagnostic>> {
    let text = render(template, values)?;
    match destination(&text) {
        Ok((path, below)) => Ok(Destination { path, below }),
        Err(error) => Err(Box::new(Problem::ImagePath { reason: error.to_string() }.at(template.place))),
    }
}
