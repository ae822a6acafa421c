package io.tosend.keyservice;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;

class OptionsTest {
    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "host",
                "host:",
                ":1",
                "host:0",
                "host:65536",
                "host:x",
                "::1",
                "::1:50051",
                "http://host:1",
                "host:1/",
                "a b:1",
                "[host]:1",
                "host:1\n"
            })
    void anAddressIsHostAndPort(String address) {
        misused(() -> KeyServiceClient.builder().addresses(address));
    }

    @Test
    void addressesOfEveryKind() {
        assertEquals(new Address("::1", 50051), Address.parse("[::1]:50051"));
        for (String text : List.of("keys.example.org:1", "127.0.0.1:65535", "[fe80::1]:50051")) {
            assertEquals(text, Address.parse(text).toString());
        }
    }

    @Test
    void noAddress() {
        misused(() -> KeyServiceClient.builder().plaintext().open());
    }

    @Test
    void limitsThatAllowNoCall() {
        var builder = KeyServiceClient.builder();
        for (Duration none : List.of(Duration.ZERO, Duration.ofMillis(-1))) {
            misused(() -> builder.deadline(none));
            misused(() -> builder.adminDeadline(none));
            misused(() -> builder.attemptTimeout(none));
        }
        misused(() -> builder.maxAttempts(0));
        misused(() -> builder.deadline(Duration.ofSeconds(Long.MAX_VALUE)));
    }

    @Test
    void aSecretInPlainTextStaysOnThisMachine() {
        misused(
                () ->
                        KeyServiceClient.builder()
                                .addresses("127.0.0.1:1", "10.0.0.1:1")
                                .secretFile(Path.of("secret"))
                                .plaintext()
                                .open());
    }

    @Test
    void aSecretInPlainTextLeavesThisMachineByNoName(@TempDir Path folder) throws Exception {
        Path secret = Files.writeString(folder.resolve("secret"), "tsop_x");
        // As if localhost stood for this.
        var options = KeyServiceClient.builder().addresses("10.0.0.1:1").plaintext();
        options.secretFile(secret).deadline(Duration.ofMillis(200));
        try (var client = new KeyServiceClient(options)) {
            var error =
                    assertThrows(
                            UnavailableException.class,
                            () -> client.authorize("tsend_x", "a.test"));
            assertTrue(error.getMessage().contains("in plain text"), error.getMessage());
        }
    }

    @Test
    void plainTextHasNoCertificates() {
        misused(
                () ->
                        KeyServiceClient.builder()
                                .addresses("127.0.0.1:1")
                                .authoritiesFile(Path.of("ca.pem"))
                                .plaintext()
                                .open());
    }

    @Test
    void nullIsNoToken() {
        try (var client = KeyServiceClient.builder().addresses("127.0.0.1:1").plaintext().open()) {
            assertThrows(NullPointerException.class, () -> client.authorize(null, "example.com"));
            assertThrows(NullPointerException.class, () -> client.authorize("tsend_", null));
            misused(() -> client.authorize("tsend_", "example.com", Duration.ZERO));
        }
    }

    @Test
    void theVersionIsThatOfThePackage() {
        assertEquals(System.getProperty("project.version"), KeyServiceClient.VERSION);
    }

    private static void misused(Executable careless) {
        String message = assertThrows(MisusedException.class, careless).getMessage();
        assertTrue(message.length() > 20, message);
    }
}
