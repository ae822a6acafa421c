package io.tosend.keyservice;

import static io.tosend.keyservice.Tests.LONG;
import static io.tosend.keyservice.Tests.TOKEN;
import static io.tosend.keyservice.Tests.eventually;
import static io.tosend.keyservice.Tests.patient;
import static io.tosend.keyservice.Tests.ready;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.TlsServerCredentials;
import io.grpc.TlsServerCredentials.ClientAuth;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.ByteArrayOutputStream;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.logging.SimpleFormatter;

@Timeout(60)
class CredentialsTest {
    private static final String SECRET = "tsop_aSecretThatNobodyMaySee";

    @TempDir static Path dir;

    /** An authority, a server's certificate, and two of clients, with keys of many forms. */
    @BeforeAll
    static void makeCertificates() throws Exception {
        Path script = dir.resolve("make");
        Files.writeString(
                script,
                """
                set -e
                ca() {
                    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \\
                        -subj "/CN=$1" -keyout "$1.key" -out "$1.pem"
                }
                issue() {
                    openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
                    printf 'subjectAltName=DNS:%s.test\\n' "$1" > "$1.ext"
                    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial \\
                        -days 2 -extfile "$1.ext" -out "$1.pem"
                }
                ca ca; ca other
                openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out server.key
                openssl genrsa -traditional -out rsa.key 2048
                openssl ecparam -name prime256v1 -genkey -out sec1.key
                openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out pkcs8.key
                for name in server rsa sec1 pkcs8; do issue $name; done
                """);
        Process openssl =
                new ProcessBuilder("bash", script.toString())
                        .directory(dir.toFile())
                        .redirectErrorStream(true)
                        .start();
        String said = new String(openssl.getInputStream().readAllBytes());
        assertEquals(0, openssl.waitFor(), said);
    }

    private static FakeReplica tlsReplica() throws Exception {
        return new FakeReplica(
                TlsServerCredentials.newBuilder()
                        .keyManager(file("server.pem").toFile(), file("server.key").toFile())
                        .trustManager(file("ca.pem").toFile())
                        .clientAuth(ClientAuth.REQUIRE)
                        .build(),
                0);
    }

    private static KeyServiceClientBuilder tlsClient(FakeReplica replica) {
        return KeyServiceClient.builder()
                .addresses(replica.address())
                .deadline(LONG)
                .attemptTimeout(LONG)
                .serverName("server.test");
    }

    private static Path file(String name) {
        return dir.resolve(name);
    }

    @ParameterizedTest
    @ValueSource(strings = {"rsa", "sec1", "pkcs8"})
    void keysOfEveryForm(String name) throws Exception {
        try (var replica = tlsReplica();
                var client =
                        ready(
                                tlsClient(replica)
                                        .authoritiesFile(file("ca.pem"))
                                        .certificate(file(name + ".pem"), file(name + ".key")))) {
            assertInstanceOf(Decision.Allowed.class, client.authorize(TOKEN, "example.com"));
        }
    }

    @Test
    void aServerOfAnotherAuthorityIsNotAsked() throws Exception {
        try (var replica = tlsReplica();
                var client =
                        tlsClient(replica)
                                .authoritiesFile(file("other.pem"))
                                .certificate(file("rsa.pem"), file("rsa.key"))
                                .open()) {
            var error =
                    assertThrows(
                            UnavailableException.class,
                            () -> client.authorize(TOKEN, "example.com"));
            assertTrue(error.getMessage().contains("certification path"), error.getMessage());
            assertEquals(0, replica.calls());
        }
    }

    @Test
    void newCertificatesCountForNewConnections() throws Exception {
        Path certificate = file("current.pem");
        Path key = file("current.key");
        copy("rsa.pem", certificate);
        copy("rsa.key", key);
        try (var replica = tlsReplica();
                var client =
                        ready(
                                tlsClient(replica)
                                        .authoritiesFile(file("ca.pem"))
                                        .certificate(certificate, key))) {
            assertEquals(1, replica.watches());
            // The certificate is replaced first. It does not belong to the key, so nothing changes.
            try (var log = new Log()) {
                copy("sec1.pem", certificate);
                eventually(() -> log.text().contains("current.key"));
            }
            assertInstanceOf(Decision.Allowed.class, client.authorize(TOKEN, "example.com"));
            assertEquals(1, replica.watches());

            copy("sec1.key", key);
            while (replica.watches() < 2) { // no call fails meanwhile
                assertInstanceOf(Decision.Allowed.class, client.authorize(TOKEN, "example.com"));
            }
            assertInstanceOf(Decision.Allowed.class, client.authorize(TOKEN, "example.com"));
        }
    }

    private static void copy(String name, Path to) throws Exception {
        Files.copy(file(name), to, StandardCopyOption.REPLACE_EXISTING);
    }

    @Test
    void filesThatCannotBeUsed() throws Exception {
        String pem = Files.readString(file("rsa.pem"));
        Path cut = Files.writeString(file("cut.pem"), pem + pem.substring(0, 200));
        Path text = Files.writeString(file("text.pem"), SECRET);
        Path line = Files.writeString(file("lines"), SECRET + "\nx: " + SECRET);
        Path empty = Files.writeString(file("empty"), "\n");
        var builder = KeyServiceClient.builder().addresses("127.0.0.1:1");
        for (KeyServiceClientBuilder wrong :
                List.of(
                        options().authoritiesFile(cut),
                        options().authoritiesFile(text),
                        options().authoritiesFile(file("missing")),
                        options().certificate(file("rsa.pem"), file("sec1.key")),
                        options().certificate(file("rsa.pem"), file("pkcs8.key")),
                        options().certificate(file("rsa.pem"), file("rsa.pem")),
                        options().certificate(file("rsa.key"), file("rsa.key")),
                        options().secretFile(line),
                        options().secretFile(empty),
                        options().secretFile(file("missing")))) {
            String message = assertThrows(MisusedException.class, wrong::open).getMessage();
            assertTrue(message.contains(dir.toString()), message);
            assertFalse(message.contains("tsop_"), message);
        }
        assertThrows(NullPointerException.class, () -> builder.certificate(cut, null));
    }

    private static KeyServiceClientBuilder options() {
        return KeyServiceClient.builder().addresses("127.0.0.1:1");
    }

    @Test
    void aChangedSecretCountsAndABadOneDoesNot() throws Exception {
        Path file = Files.writeString(file("secret"), SECRET + "\n");
        try (var replica = new FakeReplica();
                var client = ready(patient(replica).secretFile(file))) {
            assertInstanceOf(Decision.Allowed.class, client.authorize(TOKEN, "example.com"));
            assertEquals("Bearer " + SECRET, replica.authorization());
            assertTrue(replica.userAgent().startsWith("keyservice-client-java/0.1.0 "));

            try (var log = new Log()) {
                Files.writeString(file, SECRET + "bad\n" + SECRET);
                eventually(() -> log.text().contains(file.toString()));
                assertFalse(log.text().contains("tsop_"), log.text());
            }
            assertInstanceOf(Decision.Allowed.class, client.authorize(TOKEN, "example.com"));
            assertEquals("Bearer " + SECRET, replica.authorization());

            Files.writeString(file, "tsop_new");
            eventually(
                    () -> {
                        var unused = client.authorize(TOKEN, "example.com");
                        return replica.authorization().equals("Bearer tsop_new");
                    });
        }
    }

    @Test
    void nothingShowsASecretOrAToken() throws Exception {
        Path file = Files.writeString(file("shown"), SECRET);
        try (var log = new Log();
                var replica = new FakeReplica()) {
            var options = patient(replica).secretFile(file);
            try (var client = ready(options)) {
                StringBuilder shown = new StringBuilder();
                shown.append(options).append(client).append(client.admin());
                shown.append(client.authorize(TOKEN, "example.com"));
                replica.answer(io.grpc.Status.Code.UNAVAILABLE);
                var error =
                        assertThrows(
                                UnavailableException.class,
                                () -> client.authorize(TOKEN, "example.com"));
                var trace = new ByteArrayOutputStream();
                error.printStackTrace(new PrintWriter(trace, true));
                shown.append(trace).append(client.authorizeAsync(TOKEN, "example.com"));
                assertFalse(shown.toString().contains(TOKEN), shown.toString());
                assertFalse(shown.toString().contains("tsop_"), shown.toString());
            }
            assertFalse(log.text().isEmpty());
            // gRPC logs bytes in hexadecimal, too.
            String bytes = java.util.HexFormat.of().formatHex(TOKEN.getBytes());
            for (String secret : List.of(TOKEN, SECRET, bytes)) {
                assertFalse(log.text().contains(secret), log.text());
            }
        }
    }

    /** What is logged at every level, by the library and by gRPC, but not by the fake replica. */
    private static final class Log extends Handler implements AutoCloseable {
        private final Logger root = Logger.getLogger("");
        private final Level level = root.getLevel();
        private final StringBuffer text = new StringBuffer();

        Log() {
            setFormatter(new SimpleFormatter());
            setLevel(Level.ALL);
            root.setLevel(Level.ALL);
            root.addHandler(this);
        }

        String text() {
            return text.toString();
        }

        @Override
        public void publish(LogRecord record) {
            if (!record.getLoggerName().endsWith("NettyServerHandler")) {
                text.append(getFormatter().format(record));
            }
        }

        @Override
        public void flush() {}

        @Override
        public void close() {
            root.removeHandler(this);
            root.setLevel(level);
        }
    }
}
