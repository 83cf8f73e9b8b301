//! Steps of a Debian base, for this machine's platform and for one that is emulated. The bases are files
//! `PLATFORM.tar.gz` in the directory that `MAB_TEST_BASES` names: tests/e2e/steps_engine.sh does.

use std::path::PathBuf;

use builder::process::{Children, Environment};
use builder::sandbox::execution;

use super::image::{Image, Run};

fn image(name: &str, platform: &str) -> Option<Image> {
    let Some(bases) = std::env::var_os("MAB_TEST_BASES").map(PathBuf::from) else {
        eprintln!("SKIPPED: MAB_TEST_BASES names no directory with bases");
        return None;
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let env = Environment::new([("PATH".into(), path)]);
    match execution(platform.parse().unwrap(), &env, &Children::new()) {
        Ok(execution) => Some(Image::of_layer(&bases.join(format!("{name}.tar.gz")), execution)),
        Err((error, _)) => {
            eprintln!("SKIPPED: {error}");
            None
        }
    }
}

#[test]
fn emulated_steps_are_as_native_ones() {
    let Some(_sandboxes_can_be_made) = Image::get() else { return };
    let script = "id -u; chroot --userspec=33:34 --groups=5,6 / id -u; chroot --userspec=33:34 --groups=5,6 / id -G
        chroot --userspec=33:34 / sh -c 'umask 022; echo x >/tmp/made; mkdir /tmp/kept'; stat -c '%n %a %u:%g' /tmp/made
        chroot --userspec=33:34 / chown 0 /tmp/made 2>/dev/null || echo refused
        mkdir -p /srv/a/b; ln -s b /srv/a/l; echo y >/srv/a/b/f; chown -R 7:8 /srv/a; chown -h 9:9 /srv/a/l; chmod 4750 /srv/a/b/f
        rm -r /etc/skel /etc/profile.d; mv /etc/issue /etc/moved; mknod /srv/null c 1 3; touch /etc/passwd";
    let mut layers = Vec::new();
    for (name, platform) in [("amd64", "linux/amd64"), ("arm64", "linux/arm64"), ("s390x", "linux/s390x")] {
        let Some(image) = image(name, platform) else { continue };
        let outcome = image.both(script, &Run::default());
        assert_eq!(outcome.stdout, "0\n33\n34 5 6\n/tmp/made 644 33:34\nrefused\n", "{platform}");
        outcome.has_changed(&[
            "/etc d 755 0:0",
            "/etc/issue whiteout",
            "/etc/moved f 644 0:0 `Debian GNU/Linux 12 \\n \\l\n\n`",
            "/etc/profile.d whiteout",
            "/etc/skel whiteout",
            "/srv d 755 0:0",
            "/srv/a d 755 7:8",
            "/srv/a/b d 755 7:8",
            "/srv/a/b/f f 4750 7:8 `y\n`",
            "/srv/a/l -> b 9:9",
            "/srv/null character 1 3 644 0:0",
            "/tmp d 1777 0:0",
            "/tmp/kept d 755 33:34",
            "/tmp/made f 644 33:34 `x\n`",
        ]);
        layers.push(outcome.diff_id());
    }
    assert!(layers.windows(2).all(|two| two[0] == two[1]));
}
