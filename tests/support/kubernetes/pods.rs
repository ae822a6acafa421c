//! Pods of the manifests without Kubernetes: the real binary runs with the arguments, environment and
//! user of the container. Its secrets and its volume are directories of the test.

use crate::support::{
    certificates::{Authority, Issued, connect},
    directory, eventually,
    kubernetes::manifests::{
        FIRST_POSTGRES, FIRST_SQLITE, Manifests, POSTGRES, SQLITE, list, number, text,
    },
    mount::Mount,
    postgres::{Cluster, database_in, is_running_as_root, steady_port},
    server::{Client, Server, domains::Domains},
    tools::tool,
};
use keyservice::grpc::proto::{
    domain_service_client::DomainServiceClient, key_service_client::KeyServiceClient,
};
use serde_json::{Value, json};
use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};
use tempfile::TempDir;
use tonic::transport::Channel;

/// The only caller in the credentials file.
const OPERATOR: &str = "spiffe://example.org/ns/mail/sa/operator";

/// What all pods of an overlay share.
pub struct Pods {
    manifests: &'static Manifests,
    /// Those of the first start.
    first: &'static Manifests,
    authority: Authority,
    /// The keys and values of each secret.
    secrets: [(&'static str, Vec<(&'static str, String)>); 4],
    /// The mounted secrets, by their path in the container.
    mounts: Vec<(String, Mount)>,
    /// The writable volumes, by their path in the container.
    volumes: Vec<(String, TempDir)>,
    /// A copy of the binary, since the pods' user may not be allowed to read the build directory.
    image: TempDir,
}

impl Pods {
    /// Pods on a PostgreSQL store, which they reach over TLS as `deploy/README.md` says.
    pub fn on_postgres(cluster: &Cluster, store: &str) -> Self {
        let authority = Authority::new();
        authority.certify(cluster, "db.example.com");
        let address = format!(
            "postgres://keyservice@db.example.com:{}/{}?hostaddr=127.0.0.1\
             &sslmode=verify-full&sslrootcert=/etc/keyservice/store/ca.crt",
            cluster.port(),
            database_in(store)
        );
        Self::new([&FIRST_POSTGRES, &POSTGRES], authority, address)
    }

    pub fn on_sqlite() -> Self {
        Self::new([&FIRST_SQLITE, &SQLITE], Authority::new(), String::new())
    }

    fn new(
        [first, manifests]: [&'static Manifests; 2],
        authority: Authority,
        address: String,
    ) -> Self {
        let Issued {
            certificate, key, ..
        } = authority.server("localhost");
        let credentials = format!("operator admin certificate={OPERATOR}\n");
        let ca = authority.pem();
        let secrets = [
            (
                "keyservice-tls",
                vec![
                    ("tls.crt", certificate),
                    ("tls.key", key),
                    ("ca.crt", ca.clone()),
                ],
            ),
            ("keyservice-credentials", vec![("credentials", credentials)]),
            (
                "keyservice-digest-secret",
                vec![("digest-secret", "secret".repeat(8))],
            ),
            (
                "keyservice-store",
                vec![("address", address), ("ca.crt", ca)],
            ),
        ];
        let image = directory();
        // Copied by another process: a child of this process could still have the file open for
        // writing, and then the system refuses to run it.
        let copied = Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_keyservice"))
            .arg(image.path())
            .status();
        assert!(copied.expect("cp runs").success());
        fs::set_permissions(image.path(), Permissions::from_mode(0o755)).expect("set");
        let mut pods = Self {
            manifests,
            first,
            authority,
            secrets,
            mounts: Vec::new(),
            volumes: Vec::new(),
            image,
        };
        pods.mount();
        pods
    }

    /// Mounts secrets and volumes as Kubernetes does: secrets belong to root, and the group of the pod
    /// can read them and can write to a volume.
    fn mount(&mut self) {
        let spec = &self.manifests.pod()["spec"];
        for mounted in list(&self.manifests.container()["volumeMounts"]) {
            let path = text(&mounted["mountPath"]).to_owned();
            let mut volumes = list(&spec["volumes"]).iter();
            let Some(volume) = volumes.find(|volume| volume["name"] == mounted["name"]) else {
                let claimed = directory();
                self.hand_over(claimed.path(), 0o770);
                self.volumes.push((path, claimed));
                continue;
            };
            let files = self.files(&volume["secret"]);
            let mount = Mount::new(&files);
            self.hand_over(mount.directory(), 0o750);
            self.hand_over(&mount.path("..data"), 0o750);
            let mode = number(&volume["secret"]["defaultMode"]);
            let mode = u32::try_from(mode).expect("a mode");
            for (name, _) in files {
                self.hand_over(&mount.path(name), mode);
            }
            self.mounts.push((path, mount));
        }
    }

    /// The files of a mounted secret: all of its keys, or the selected ones.
    fn files(&self, volume: &Value) -> Vec<(&'static str, &str)> {
        let keys = self.secret(text(&volume["secretName"])).iter();
        let picked = volume["items"].as_array();
        let keys = keys.filter(|(key, _)| {
            picked.is_none_or(|picked| picked.iter().any(|item| item["key"] == *key))
        });
        keys.map(|(key, value)| (*key, value.as_str())).collect()
    }

    fn secret(&self, name: &str) -> &[(&'static str, String)] {
        let found = self.secrets.iter().find(|(secret, _)| *secret == name);
        &found.unwrap_or_else(|| panic!("no secret {name}")).1
    }

    /// Gives a path to the group of the pod. Only root can do that; if the tests run as another user,
    /// the pods run as that user too.
    fn hand_over(&self, path: &Path, mode: u32) {
        if is_running_as_root() {
            chown(path, Some(0), Some(self.id("fsGroup"))).expect("chown");
        }
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
    }

    fn id(&self, field: &str) -> u32 {
        let id = number(&self.manifests.pod()["spec"]["securityContext"][field]);
        u32::try_from(id).expect("an id")
    }

    /// Starts a pod that creates the store, and waits until its readiness probe passes.
    pub async fn start_first(&self) -> Pod {
        Self::started(self.launch_from(self.first).await).await
    }

    /// Starts a pod on a store that exists, and waits until its readiness probe passes.
    pub async fn start(&self) -> Pod {
        Self::started(self.launch().await).await
    }

    async fn started(mut pod: Pod) -> Pod {
        eventually("it is ready", async || pod.answers("readinessProbe")).await;
        eventually("it listens", async || pod.server.is_listening()).await;
        pod
    }

    /// Starts a pod and waits until it listens for probes.
    pub async fn launch(&self) -> Pod {
        self.launch_from(self.manifests).await
    }

    async fn launch_from(&self, manifests: &'static Manifests) -> Pod {
        let (mut command, health_port) = self.command_of(manifests);
        let server = Server::launch(&mut command);
        server.health_on_its_own_port().await;
        Pod {
            server,
            manifests,
            health_port,
        }
    }

    /// The command of a pod on a store that exists.
    pub fn command(&self) -> Command {
        self.command_of(self.manifests).0
    }

    /// The command of a pod, and the port of its probes.
    fn command_of(&self, manifests: &Manifests) -> (Command, u16) {
        let container = manifests.container();
        let mut command = Command::new(self.image.path().join("keyservice"));
        command.args(list(&container["args"]).iter().map(text));
        command.env_clear();
        let mut health_port = 0;
        for variable in list(&container["env"]) {
            let name = text(&variable["name"]);
            let mut value = self.value(variable);
            if value.starts_with("0.0.0.0:") {
                let port = steady_port();
                value = format!("0.0.0.0:{port}");
                if name == "KEYSERVICE_HEALTH_LISTEN" {
                    health_port = port;
                }
            }
            command.env(name, value);
        }
        // So short that it lapses during a test.
        command.env("KEYSERVICE_LEASE", "1s");
        command.env("KEYSERVICE_SHUTDOWN_DELAY", "0s");
        if is_running_as_root() {
            command.uid(self.id("runAsUser")).gid(self.id("runAsGroup"));
        }
        (command, health_port)
    }

    /// The value of a variable, in which paths of the container are replaced by paths of the test.
    fn value(&self, variable: &Value) -> String {
        let source = &variable["valueFrom"]["secretKeyRef"];
        let value = variable["value"].as_str().unwrap_or_else(|| {
            let mut keys = self.secret(text(&source["name"])).iter();
            let found = keys.find(|(key, _)| source["key"] == *key);
            &found.expect("the secret has the key").1
        });
        let mounts = self.mounts.iter().map(|(path, it)| (path, it.directory()));
        let volumes = self.volumes.iter().map(|(path, it)| (path, it.path()));
        mounts
            .chain(volumes)
            .fold(value.to_owned(), |value, (path, directory)| {
                value.replace(path, directory.to_str().expect("UTF-8"))
            })
    }

    /// A client that authenticates to a pod with its certificate.
    pub async fn operator(&self, pod: &Pod) -> Client {
        Client(KeyServiceClient::new(self.operators_channel(pod).await))
    }

    pub async fn operators_domains(&self, pod: &Pod) -> Domains {
        Domains(DomainServiceClient::new(self.operators_channel(pod).await))
    }

    async fn operators_channel(&self, pod: &Pod) -> Channel {
        let certificate = self.authority.client_by_uri(OPERATOR);
        let channel = connect(pod.server.port(), &self.authority, Some(&certificate)).await;
        channel.expect("it is connected")
    }
}

pub struct Pod {
    pub server: Server,
    manifests: &'static Manifests,
    health_port: u16,
}

impl Pod {
    /// Whether a probe fails less often in a row than the manifests allow.
    pub fn passes(&self, probe: &str) -> bool {
        let tries = number(&self.manifests.container()[probe]["failureThreshold"]);
        (0..tries).any(|_| self.answers(probe))
    }

    /// Whether one probe succeeds: the answer is SERVING, in time, without TLS and credentials.
    pub fn answers(&self, probe: &str) -> bool {
        let probe = &self.manifests.container()[probe];
        let service = json!({"service": probe["grpc"]["service"]});
        let seconds = number(&probe["timeoutSeconds"]).to_string();
        let descriptors = directory();
        let file = descriptors.path().join("health.binpb");
        fs::write(&file, tonic_health::pb::FILE_DESCRIPTOR_SET).expect("written");
        let asked = Command::new(tool("grpcurl"))
            .args(["-plaintext", "-max-time", &seconds])
            .args(["-d", &service.to_string(), "-protoset"])
            .arg(file)
            .arg(format!("127.0.0.1:{}", self.health_port))
            .arg("grpc.health.v1.Health/Check")
            .output()
            .expect("grpcurl runs");
        let answer: Option<Value> = serde_json::from_slice(&asked.stdout).ok();
        answer.is_some_and(|answer| text(&answer["status"]) == "SERVING")
    }
}
