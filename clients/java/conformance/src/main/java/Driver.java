import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;

import io.tosend.keys.v1.AddDomainRequest;
import io.tosend.keys.v1.CreateRequest;
import io.tosend.keys.v1.RevokeRequest;
import io.tosend.keys.v1.RevokeResponse;
import io.tosend.keyservice.Decision;
import io.tosend.keyservice.KeyServiceClient;
import io.tosend.keyservice.KeyServiceClientBuilder;
import io.tosend.keyservice.MisusedException;
import io.tosend.keyservice.NewKey;
import io.tosend.keyservice.RefusedException;
import io.tosend.keyservice.UnavailableException;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.Security;
import java.time.Duration;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/** Makes the calls that the test suite writes to its standard input. ../../DRIVER.md says how. */
public final class Driver {
    private static final Gson JSON =
            new GsonBuilder().serializeNulls().disableHtmlEscaping().create();

    private final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    private final ExecutorService threads = Executors.newCachedThreadPool();
    private KeyServiceClientBuilder options;
    private KeyServiceClient client;
    private volatile Object lastAnswer = "none";

    public static void main(String[] args) throws Exception {
        Security.setProperty("networkaddress.cache.ttl", "5");
        new Driver().run();
    }

    private void run() throws Exception {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonObject call = JsonParser.parseString(line).getAsJsonObject();
            if (client == null) {
                answer(call);
            } else {
                threads.execute(() -> answer(call));
            }
        }
        threads.shutdown();
        if (!threads.awaitTermination(1, TimeUnit.MINUTES)) {
            System.exit(1);
        }
        if (client != null) {
            client.close();
        }
    }

    private void answer(JsonObject call) {
        JsonObject answer = new JsonObject();
        answer.add("id", call.get("id"));
        try {
            make(call, answer);
        } catch (UnavailableException e) {
            answer.addProperty("unavailable", e.toString());
        } catch (MisusedException e) {
            answer.addProperty("misused", e.toString());
        } catch (RefusedException e) {
            var refused = new JsonObject();
            refused.addProperty("code", e.code().name());
            refused.addProperty("message", e.description());
            answer.add("refused", refused);
        } catch (InterruptedException e) {
            throw new AssertionError("nobody interrupts these threads", e);
        }
        out.println(JSON.toJson(answer)); // in one piece, because a PrintStream locks itself
    }

    private void make(JsonObject call, JsonObject answer) throws InterruptedException {
        switch (text(call, "call")) {
            case "open" -> {
                if (has(call, "cert_file") && !has(call, "key_file")) {
                    // The builder has no method that takes one of them.
                    answer.addProperty("misused", "a certificate needs its key");
                } else {
                    open(call);
                    answer.addProperty("opened", true);
                }
            }
            case "ready" -> {
                Duration timeout = Duration.ofMillis(call.get("millis").getAsLong());
                answer.addProperty("ready", client.waitUntilReady(timeout));
            }
            case "authorize" -> authorize(call, answer);
            case "create" -> {
                var request =
                        CreateRequest.newBuilder()
                                .setAccountId(text(call, "account_id"))
                                .setName(text(call, "name"));
                if (has(call, "domain")) {
                    request.setDomain(text(call, "domain"));
                }
                NewKey key = client.admin().create(request.build());
                lastAnswer = key;
                var created = new JsonObject();
                created.addProperty("key_id", key.key().getKeyId());
                created.addProperty("token", key.token());
                answer.add("created", created);
            }
            case "revoke" -> {
                var request = RevokeRequest.newBuilder().setKeyId(text(call, "key_id")).build();
                RevokeResponse response = client.admin().revoke(request);
                lastAnswer = response;
                var revoked = new JsonObject();
                revoked.addProperty("key_id", response.getKey().getKeyId());
                answer.add("revoked", revoked);
            }
            case "add_domain" -> {
                var request =
                        AddDomainRequest.newBuilder()
                                .setAccountId(text(call, "account_id"))
                                .setDomain(text(call, "domain"))
                                .build();
                lastAnswer = client.admin().addDomain(request);
                answer.addProperty("added", true);
            }
            case "show" ->
                    answer.addProperty(
                            "shown",
                            options + "\n" + client + "\n" + client.admin() + "\n" + lastAnswer);
            default -> throw new IllegalArgumentException(text(call, "call"));
        }
    }

    private void open(JsonObject call) {
        options = KeyServiceClient.builder();
        call.getAsJsonArray("addresses").forEach(one -> options.addresses(one.getAsString()));
        if (call.has("plaintext") && call.get("plaintext").getAsBoolean()) {
            options.plaintext();
        }
        if (has(call, "ca_file")) {
            options.authoritiesFile(Path.of(text(call, "ca_file")));
        }
        if (has(call, "cert_file")) {
            options.certificate(Path.of(text(call, "cert_file")), Path.of(text(call, "key_file")));
        }
        if (has(call, "secret_file")) {
            options.secretFile(Path.of(text(call, "secret_file")));
        }
        if (has(call, "server_name")) {
            options.serverName(text(call, "server_name"));
        }
        client = options.open();
    }

    private void authorize(JsonObject call, JsonObject answer) throws InterruptedException {
        String token = text(call, "token");
        String domain = text(call, "domain");
        Decision decision =
                has(call, "deadline_millis")
                        ? client.authorize(
                                token,
                                domain,
                                Duration.ofMillis(call.get("deadline_millis").getAsLong()))
                        : client.authorize(token, domain);
        lastAnswer = decision;
        var shown = new JsonObject();
        if (decision instanceof Decision.Allowed allowed) {
            shown.addProperty("key_id", allowed.keyId());
            shown.addProperty("account_id", allowed.accountId());
            shown.addProperty("domain", allowed.domain().orElse(null));
            answer.add("allowed", shown);
        } else if (decision instanceof Decision.Denied denied) {
            shown.addProperty("reason", denied.reasonText());
            shown.addProperty("key_id", denied.keyId().orElse(null));
            shown.addProperty("account_id", denied.accountId().orElse(null));
            answer.add("denied", shown);
        }
    }

    private static boolean has(JsonObject call, String field) {
        return call.has(field) && !call.get(field).isJsonNull();
    }

    private static String text(JsonObject call, String field) {
        return call.get(field).getAsString();
    }
}
