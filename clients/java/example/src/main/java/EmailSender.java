import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.grpc.Status;
import io.tosend.keyservice.Decision;
import io.tosend.keyservice.KeyServiceClient;
import io.tosend.keyservice.KeyServiceException;
import io.tosend.keyservice.MisusedException;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.Security;
import java.util.concurrent.Executors;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Accepts emails at POST /v2/emails of senders whose token may send for the From domain. */
public final class EmailSender {
    private static final Pattern FROM = Pattern.compile("(?:.*<)?[^<>@\\s]+@([^<>@\\s]+)>?");

    public static void main(String[] args) throws IOException {
        Security.setProperty("networkaddress.cache.ttl", "5"); // find new replicas soon
        KeyServiceClient keys = KeyServiceClient.builder().addresses(args).plaintext().open();
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 8080), 0);
        server.setExecutor(Executors.newFixedThreadPool(16));
        server.createContext("/v2/emails", exchange -> handle(keys, exchange));
        server.start();
    }

    private static void handle(KeyServiceClient keys, HttpExchange exchange) throws IOException {
        try (exchange) {
            JsonObject email =
                    JsonParser.parseReader(
                                    new InputStreamReader(
                                            exchange.getRequestBody(), StandardCharsets.UTF_8))
                            .getAsJsonObject();
            Matcher from = FROM.matcher(email.get("from").getAsString());
            String bearer = exchange.getRequestHeaders().getFirst("Authorization");
            if (bearer == null || !bearer.startsWith("Bearer ")) {
                answer(exchange, 401, "no API key");
            } else if (!from.matches()) {
                answer(exchange, 400, "from is not an address");
            } else {
                answer(exchange, keys.authorize(bearer.substring(7), from.group(1)));
            }
        }
    }
}
