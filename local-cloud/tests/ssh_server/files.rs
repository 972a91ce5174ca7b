//! scp and sftp.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::lab::{Lab, finish, five_megabytes, ok};

#[tokio::test]
async fn scp_both_ways() {
    let lab = Lab::new().await;
    let data = five_megabytes();
    fs::write(lab.path("big"), &data).unwrap();
    fs::set_permissions(lab.path("big"), fs::Permissions::from_mode(0o640)).unwrap();
    let old = fs::File::options().write(true).open(lab.path("big")).unwrap();
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    old.set_modified(long_ago).unwrap();

    for (legacy, there, back) in [(&[][..], "a", "a2"), (&["-O"], "b", "b2")] {
        let mut up = lab.client("scp");
        up.args(legacy).arg("-p").arg(lab.path("big")).arg(format!("127.0.0.1:{there}"));
        ok(&finish(up).await);
        assert!(fs::read(lab.root(there)).unwrap() == data);
        let metadata = fs::metadata(lab.root(there)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
        assert_eq!(metadata.modified().unwrap(), long_ago);

        let mut down = lab.client("scp");
        down.args(legacy).arg(format!("127.0.0.1:{there}")).arg(lab.path(back));
        ok(&finish(down).await);
        assert!(fs::read(lab.path(back)).unwrap() == data);
    }
}

#[tokio::test]
async fn scp_of_a_tree() {
    let lab = Lab::new().await;
    fs::create_dir_all(lab.path("tree/deep/er")).unwrap();
    for number in 0..150 {
        fs::write(lab.path(&format!("tree/deep/{number}")), number.to_string()).unwrap();
    }
    fs::write(lab.path("tree/deep/er/empty"), "").unwrap();
    let mut up = lab.client("scp");
    ok(&finish({
        up.args(["-q", "-r"]).arg(lab.path("tree")).arg("127.0.0.1:~/copy");
        up
    })
    .await);
    let mut down = lab.client("scp");
    ok(&finish({
        down.args(["-q", "-r", "127.0.0.1:copy"]).arg(lab.path("back"));
        down
    })
    .await);
    for number in 0..150 {
        let copy = fs::read_to_string(lab.path(&format!("back/deep/{number}"))).unwrap();
        assert_eq!(copy, number.to_string());
    }
    assert_eq!(fs::read(lab.path("back/deep/er/empty")).unwrap(), b"");
}

#[tokio::test]
async fn an_sftp_batch() {
    let lab = Lab::new().await;
    let data = five_megabytes();
    fs::write(lab.path("local"), &data).unwrap();
    let batch = format!(
        "pwd\nmkdir d\ncd d\nput {local} one\nrename one two\nchmod 600 two\nln -s two link\n\
         ls -l\nget two {back}\nln two hard\nrm hard\nput {local} gone\nrm gone\ncd ..\n\
         -rmdir d\nmkdir e\nrmdir e\n-get none\n",
        local = lab.path("local").display(),
        back = lab.path("back").display(),
    );
    fs::write(lab.path("batch"), batch).unwrap();
    let mut sftp = lab.client("sftp");
    let output = finish({
        sftp.arg("-b").arg(lab.path("batch")).arg("127.0.0.1");
        sftp
    })
    .await;
    let text = ok(&output);
    assert!(text.contains("lrwxrwxrwx"), "{text}");
    assert!(text.contains("-rw-------"), "{text}");
    assert!(fs::read(lab.path("back")).unwrap() == data);
    assert!(fs::read(lab.root("d/two")).unwrap() == data);
    assert_eq!(fs::read_link(lab.root("d/link")).unwrap(), Path::new("two"));
    assert!(!lab.root("e").exists() && !lab.root("d/gone").exists());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("not found"), "{errors}");
}
