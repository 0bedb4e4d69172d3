//! What a compose file asks for, by hand: a proxy in front, an application, a database that nothing but the
//! application reaches.
//!
//! ```text
//!   outside ── :80 proxy ── front ── app ── rear (internal) ── db
//! ```

use crate::talk::connect;
use crate::world::{HOST, OUTSIDE, SOON, World, at};
use std::io::{Read, Write};
use std::net::SocketAddr;
use testbed::docker::Container;
use testbed::{Namespace, wait_until};

pub(crate) const DB: &str = "echo 'forty-two' > /www/value; exec nc -ll -p 5432 -e cat /www/value";

pub(crate) const APP: &str = r#"
cat > /www/cgi-bin/value <<'END'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\nthe value is %s\n' "$(nc -w 5 db 5432 < /dev/null)"
END
chmod 755 /www/cgi-bin/value
exec httpd -f -p 8000 -h /www
"#;

pub(crate) const PROXY: &str = r#"
cat > /www/cgi-bin/page <<'END'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\nfor %s: %s\n' "$REMOTE_ADDR" \
    "$(wget -q -O - http://app:8000/cgi-bin/value)"
END
chmod 755 /www/cgi-bin/page
exec httpd -f -p 80 -h /www
"#;

/// Returns what an HTTP server says to `GET path`.
pub(crate) fn get(from: &Namespace, to: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = connect(from, to)?;
    stream.set_read_timeout(Some(SOON))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}

#[test]
fn two_networks_make_an_application() {
    let Some(world) = World::start() else { return };
    world.dual("front", 1);
    world.network("rear", "--internal --subnet 10.2.0.0/24");
    let start = |options: &str, script: &str| world.engine.run_script(options, script).unwrap();
    let db = start("--network rear --name db", DB);
    let app = start("--network front --name app", APP);
    world.docker("network connect rear app");
    let proxy = start("--network front --name proxy -p 80:80", PROXY);

    let page = |host| get(&world.outside, at(host, 80), "/cgi-bin/page");
    let whole = |said: &str| said.contains("the value is forty-two");
    wait_until("the page", SOON, || {
        page(HOST[0]).is_ok_and(|said| whole(&said))
    })
    .unwrap();
    for (host, outside) in HOST.into_iter().zip(OUTSIDE) {
        let said = page(host).unwrap();
        assert!(whole(&said), "{said}");
        // busybox writes an IPv6 client in brackets.
        assert!(said.contains(&outside.to_string()), "{outside} in {said}");
    }
    // The proxy knows nothing of the database, which in turn reaches nobody outside.
    world.does_not_reach(&proxy, "db");
    let of_db = db.ip(&world.engine, "rear").unwrap().to_string();
    world.does_not_reach(&proxy, &of_db);
    world.does_not_reach(&db, &OUTSIDE[0].to_string());

    // One after the other is made anew, as a deployment does.
    let again = |old: Container, options: &str, script: &str| {
        old.remove(&world.engine).unwrap();
        start(options, script)
    };
    again(db, "--network rear --name db", DB);
    wait_until("the page with another database", SOON, || {
        page(HOST[0]).is_ok_and(|said| whole(&said))
    })
    .unwrap();
    again(app, "--network front --name app", APP);
    world.docker("network connect rear app");
    wait_until("the page with another application", SOON, || {
        page(HOST[0]).is_ok_and(|said| whole(&said))
    })
    .unwrap();
    again(proxy, "--network front --name proxy -p 80:80", PROXY);
    for host in HOST {
        wait_until("the page of another proxy", SOON, || {
            page(host).is_ok_and(|said| whole(&said))
        })
        .unwrap();
    }
}
