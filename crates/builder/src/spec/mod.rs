//! The build file: from text to a [`model::BuildSpec`] that can only be valid.

pub mod model;
pub mod place;
pub mod template;
