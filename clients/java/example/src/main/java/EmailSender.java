import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;

import io.grpc.Status;
import io.tosend.keyservice.Decision;
import io.tosend.keyservice.KeyServiceClient;
import io.tosend.keyservice.MisusedException;
import io.tosend.keyservice.UnavailableException;

import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.System.Logger.Level;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.Security;
import java.time.Duration;
import java.util.concurrent.Executors;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Accepts emails at POST /v2/emails from senders whose token may send for the From domain. */
public final class EmailSender {
    private static final System.Logger LOG = System.getLogger(EmailSender.class.getName());
    private static final Pattern BEARER = Pattern.compile("(?i:Bearer) +(\\S+)");
    private static final Pattern FROM =
            Pattern.compile("(?:[^<>]*<[^<>@]+@([^<>@]+)>|[^<>@]+@([^<>@]+))");

    private record Answer(int status, String message) {}

    public static void main(String[] addresses) throws Exception {
        Security.setProperty("networkaddress.cache.ttl", "5"); // finds new replicas in time
        var keys = KeyServiceClient.builder().addresses(addresses).plaintext().open();
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 8080), 0);
        server.setExecutor(Executors.newFixedThreadPool(16));
        server.createContext("/v2/emails", exchange -> serve(keys, exchange));
        if (!keys.waitUntilReady(Duration.ofSeconds(30))) {
            LOG.log(Level.WARNING, "no replica is ready yet");
        }
        server.start();
    }

    private static void serve(KeyServiceClient keys, HttpExchange exchange) throws IOException {
        try (exchange) {
            Answer answer = answer(keys, exchange);
            JsonObject body = new JsonObject();
            body.addProperty("message", answer.message());
            byte[] bytes = body.toString().getBytes(StandardCharsets.UTF_8);
            if (answer.status() == 401) {
                exchange.getResponseHeaders().set("WWW-Authenticate", "Bearer");
            }
            exchange.getResponseHeaders().set("Content-Type", "application/json");
            exchange.sendResponseHeaders(answer.status(), bytes.length);
            exchange.getResponseBody().write(bytes);
        }
    }

    private static Answer answer(KeyServiceClient keys, HttpExchange exchange) throws IOException {
        String header = exchange.getRequestHeaders().getFirst("Authorization");
        Matcher bearer = BEARER.matcher(header == null ? "" : header);
        if (!bearer.matches()) {
            return new Answer(401, "Authorization: Bearer and an API key are needed");
        }
        Matcher from = FROM.matcher(from(exchange));
        if (!exchange.getRequestMethod().equals("POST") || !from.matches()) {
            return new Answer(400, "POST a JSON object whose \"from\" is an email address");
        }
        String domain = from.group(1) != null ? from.group(1) : from.group(2);
        try {
            Decision decision = keys.authorize(bearer.group(1), domain);
            if (decision instanceof Decision.Allowed) {
                return new Answer(202, "accepted"); // here it would be sent
            }
            var denied = (Decision.Denied) decision;
            return new Answer(denied.httpStatus(), denied.reasonText());
        } catch (MisusedException e) {
            LOG.log(Level.WARNING, e.getMessage());
            return e.code() == Status.Code.INVALID_ARGUMENT
                    ? new Answer(400, "\"from\" has no domain name")
                    : new Answer(503, "try again later"); // this program may not ask
        } catch (UnavailableException e) {
            LOG.log(Level.WARNING, e.getMessage());
            return new Answer(503, "try again later");
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return new Answer(503, "this server is ending");
        }
    }

    /** The field "from" of the request; empty if there is none. */
    private static String from(HttpExchange exchange) throws IOException {
        try (var body = new InputStreamReader(exchange.getRequestBody(), StandardCharsets.UTF_8)) {
            var email = JsonParser.parseReader(body);
            var from = email.isJsonObject() ? email.getAsJsonObject().get("from") : null;
            return from != null && from.isJsonPrimitive() ? from.getAsString() : "";
        } catch (JsonParseException e) {
            return "";
        }
    }
}
