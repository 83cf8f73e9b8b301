//! Asking registries, while compilers and commands still run, whether they would take what is being
//! made: credentials that are not good for a push are told after a second, not after the minutes
//! that the build takes.

use registry_client::Repository;
use tokio::task::JoinSet;

use super::assembly::Assembly;
use super::programs::with_causes;
use super::*;

/// How long a build has gone on before registries are asked. One that is done by then learns it
/// from the push itself, and sends no request for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// The questions. Dropped, they are no longer asked.
pub(super) struct Admission(JoinSet<Result<(), BuildError>>);

impl Admission {
    /// Asks each repository that `assemblies` go to.
    pub(super) fn ask(shared: &Arc<Shared>, assemblies: &[Arc<Assembly>]) -> Self {
        let sinks = assemblies.iter().flat_map(|assembly| assembly.sinks.iter());
        let repositories: BTreeSet<&Repository> = sinks.filter_map(Sink::repository).collect();
        let mut questions = JoinSet::new();
        for repository in repositories {
            let (shared, repository) = (Arc::clone(shared), repository.clone());
            questions.spawn(async move {
                tokio::time::sleep(PATIENCE).await;
                ask(&shared, &repository).await
            });
        }
        Self(questions)
    }

    /// The first refusal. Does not end where there is none.
    pub(super) async fn refusal(&mut self) -> BuildError {
        while let Some(answer) = self.0.join_next().await {
            if let Ok(Err(error)) = answer {
                return error;
            }
        }
        std::future::pending().await
    }
}

async fn ask(shared: &Shared, repository: &Repository) -> Result<(), BuildError> {
    match shared.client.check_push(repository).await {
        // It may have come back by the time that there is something to send.
        Err(error) if error.is_passing() => {
            let message = format!(
                "{}; the build goes on, and {} is asked again when there is something to push",
                with_causes(&error),
                repository.registry()
            );
            shared.reporter.report(Event::Warning { message });
            Ok(())
        }
        answer => Ok(answer?),
    }
}
