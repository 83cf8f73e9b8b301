//! What happens when mab finds itself wrong.

use std::panic;

use crate::{exit, text};

/// A panic of any thread ends mab. Nothing runs on that may rest on what is broken; the release
/// build has no code for it either, a tenth of the program. What others see is whole at any time
/// (row D04): nobody has to clean up first.
pub(crate) fn end_at_once() {
    panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        text::error_line(&text::tame(&format!("error: mab has a defect: thread {thread} {panic}").replace('\n', " ")));
        text::error_line("hint: please report it, with the command and what it printed");
        std::process::exit(i32::from(exit::DEFECT));
    }));
}

#[cfg(test)]
mod tests {
    const DEFECTIVE: &str = "MAB_TEST_DEFECTIVE";

    #[test]
    fn a_defect_ends_the_program_whichever_thread_has_it() {
        if std::env::var_os(DEFECTIVE).is_some() {
            super::end_at_once();
            let unlucky = std::thread::Builder::new().name("unlucky".to_owned());
            let _ = unlucky.spawn(|| panic!("nobody thought of this")).unwrap().join();
            return;
        }
        // Another process of this test program, which runs this test alone.
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        let name = "defect::tests::a_defect_ends_the_program_whichever_thread_has_it";
        let output = again.args(["--exact", name, "--nocapture"]).env(DEFECTIVE, "1").output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(101), "{out}{err}");
        assert!(err.contains("error: mab has a defect: thread unlucky panicked at crates/mab/src/defect.rs:"), "{err}");
        assert!(err.contains("nobody thought of this"), "{err}");
        assert!(!out.contains("test result"), "it went on: {out}");
    }
}
