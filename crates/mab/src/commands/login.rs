//! `mab login` and `mab logout`.

use std::io::{IsTerminal as _, Read as _};

use registry_client::credentials::{Credentials, store};
use registry_client::{Client, Credential, Secret};

use super::session::Session;
use crate::cli::{Login, Logout, Progress};
use crate::prompt::{self, Asked};
use crate::{environment, exit, progress, text};

/// Longest password or token that is read.
const MAX_SECRET: u64 = 64 * 1024;

pub(crate) fn login(arguments: &Login) -> u8 {
    let session = Session::new();
    let registry = &arguments.registry;
    let locations = environment::credential_locations(&session.env);
    let Some(file) = locations.login_file() else {
        text::error_line(
            "error: there is no home directory to keep credentials in\n\nhint: set DOCKER_CONFIG or REGISTRY_AUTH_FILE",
        );
        return exit::OUTPUT;
    };
    let (username, password) = match ask(arguments) {
        Ok(Asked::Answer(answer)) => answer,
        Ok(Asked::Interrupted) => return exit::SIGINT,
        Err(problem) => {
            text::error_line(&format!("error: {problem}"));
            return exit::USAGE;
        }
    };
    let reporter = progress::reporter(Progress::Plain, arguments.verbose);
    let client: Client = match session.client(&reporter, &arguments.registries) {
        Ok(client) => client,
        Err(code) => return code,
    };
    let credential = Credential::Password { username: username.clone(), password: password.clone() };
    session.block_on(session.until_interrupted(async {
        // Asked before anything is kept: a wrong password does not take the place of a right one.
        if let Err(error) = client.check_credential(registry, credential).await {
            return session.fail(&error, &[], exit::of_registry(&error));
        }
        match store::login(&file, registry, &username, &password, &environment::helpers(&session.env)) {
            Ok(store::Kept::File(path)) => {
                text::error_line(&format!(
                    "logged in to {registry}; the password is in {}, not encrypted",
                    path.display()
                ));
                exit::SUCCESS
            }
            Ok(store::Kept::Helper(name)) => {
                text::error_line(&format!("logged in to {registry}; the credential helper {name} has the password"));
                exit::SUCCESS
            }
            Err(error) => session.fail(&error, &[], exit::OUTPUT),
        }
    }))
}

/// Name and password, from the command line, standard input or the terminal.
fn ask(arguments: &Login) -> Result<Asked<(String, Secret)>, String> {
    if !arguments.password_stdin && !std::io::stdin().is_terminal() {
        return Err(
            "there is no terminal to ask for the password\n\nhint: give it on standard input with --password-stdin"
                .to_owned(),
        );
    }
    let username = match &arguments.username {
        Some(name) => name.clone(),
        None => match prompt::line(&format!("Name at {}: ", arguments.registry)).map_err(|error| error.to_string())? {
            Asked::Answer(name) => name,
            Asked::Interrupted => return Ok(Asked::Interrupted),
        },
    };
    if username.is_empty() {
        return Err("the name is empty".to_owned());
    }
    let password = if arguments.password_stdin {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(MAX_SECRET + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > MAX_SECRET {
            return Err(format!("the password has more than {MAX_SECRET} bytes"));
        }
        let text = String::from_utf8(bytes).map_err(|_| "the password is not UTF-8".to_owned())?;
        Secret::from(text.trim_end_matches(['\n', '\r']))
    } else {
        match prompt::secret("Password: ").map_err(|error| error.to_string())? {
            Asked::Answer(password) => password,
            Asked::Interrupted => return Ok(Asked::Interrupted),
        }
    };
    if password.is_empty() {
        return Err("the password is empty".to_owned());
    }
    Ok(Asked::Answer((username, password)))
}

pub(crate) fn logout(arguments: &Logout) -> u8 {
    let session = Session::new();
    let registry = &arguments.registry;
    let locations = environment::credential_locations(&session.env);
    let helpers = environment::helpers(&session.env);
    let kept = match locations.login_file() {
        Some(file) => match store::logout(&file, registry, &helpers) {
            Ok(kept) => kept,
            Err(error) => return session.fail(&error, &[], exit::OUTPUT),
        },
        None => None,
    };
    match kept {
        Some(store::Kept::File(path)) => {
            text::error_line(&format!("logged out of {registry}: {} has nothing for it any more", path.display()));
        }
        Some(store::Kept::Helper(name)) => {
            text::error_line(&format!("logged out of {registry}: the credential helper {name} has forgotten it"));
        }
        None => text::error_line(&format!("nothing was kept for {registry}")),
    }
    // Other files of credentials are not ours to change.
    let (files, _) = locations.load();
    let others = Credentials { files, helpers, ..Credentials::default() };
    if let Ok(Some(found)) = others.lookup(registry, None) {
        text::error_line(&format!("warning: {registry} is still known from {}", text::tame(&found.origin)));
    }
    exit::SUCCESS
}
