package io.tosend.keyservice;

import io.grpc.ChannelCredentials;
import io.grpc.InsecureChannelCredentials;
import io.grpc.Metadata;
import io.grpc.TlsChannelCredentials;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.lang.System.Logger.Level;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

/**
 * Who this program is, and whom it trusts, as the files say now.
 *
 * <p>Files are compared by what is in them, so every way to replace a file is noticed. A file that
 * cannot be used changes nothing. Nothing of what is in a file is ever shown.
 */
final class Credentials {
    private static final System.Logger LOG = System.getLogger(Credentials.class.getName());
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    /** The files of many certificates are smaller. */
    private static final int LARGEST_FILE = 1 << 20;

    private final KeyServiceClientBuilder options;

    // What was read last, to see whether it has changed.
    private byte[] secretBytes;
    private byte[][] tlsBytes;

    // What was read last without an error.
    private volatile String secret;
    private volatile ChannelCredentials channelCredentials;

    /** The last warning, which is not repeated as long as nothing changes. */
    private String warned;

    /**
     * Reads the files.
     *
     * @throws MisusedException if one cannot be used
     */
    Credentials(KeyServiceClientBuilder options) {
        this.options = options;
        readSecret();
        readCertificates();
    }

    /** For new connections. */
    ChannelCredentials channelCredentials() {
        return channelCredentials;
    }

    /** For one call. */
    Metadata headers() {
        Metadata headers = new Metadata();
        String now = secret;
        if (now != null) {
            headers.put(AUTHORIZATION, "Bearer " + now);
        }
        return headers;
    }

    /** Whether calls must not leave this machine. */
    boolean sendSecretInPlainText() {
        return options.plaintext && options.secretFile != null;
    }

    boolean haveFiles() {
        return options.secretFile != null
                || options.certificateFile != null
                || options.authoritiesFile != null;
    }

    /**
     * Reads the files again. Only one thread at a time calls this.
     *
     * @return whether new connections are to be opened, with new certificates
     */
    boolean refresh() {
        boolean renewed = false;
        String problem = null;
        try {
            readSecret();
        } catch (MisusedException e) {
            problem = e.getMessage();
        }
        try {
            renewed = readCertificates();
        } catch (MisusedException e) {
            problem = e.getMessage();
        }
        if (problem != null && !problem.equals(warned)) {
            LOG.log(Level.WARNING, "goes on with the credentials it had: " + problem);
        }
        warned = problem;
        return renewed;
    }

    private void readSecret() {
        if (options.secretFile == null) {
            return;
        }
        byte[] bytes = read(options.secretFile);
        if (Arrays.equals(bytes, secretBytes)) {
            return;
        }
        String text = new String(bytes, StandardCharsets.ISO_8859_1).strip();
        // A line break or a letter beyond ASCII would make an error of gRPC's that shows the
        // header.
        if (text.isEmpty() || !text.chars().allMatch(c -> c > ' ' && c < 127)) {
            throw new MisusedException(
                    options.secretFile + " is not one word of visible ASCII characters");
        }
        secret = text;
        secretBytes = bytes;
    }

    private boolean readCertificates() {
        if (options.plaintext) {
            channelCredentials = InsecureChannelCredentials.create();
            return false;
        }
        byte[][] bytes = {
            read(options.authoritiesFile), read(options.certificateFile), read(options.keyFile)
        };
        if (channelCredentials != null && Arrays.deepEquals(bytes, tlsBytes)) {
            return false;
        }
        TlsChannelCredentials.Builder tls = TlsChannelCredentials.newBuilder();
        try {
            if (options.authoritiesFile != null) {
                Pem.certificates(options.authoritiesFile, bytes[0]);
                tls.trustManager(new ByteArrayInputStream(bytes[0]));
            }
            if (options.certificateFile != null) {
                var leaf = Pem.certificates(options.certificateFile, bytes[1]).get(0);
                byte[] key = Pem.keyOf(leaf, options.keyFile, bytes[2]);
                tls.keyManager(new ByteArrayInputStream(bytes[1]), new ByteArrayInputStream(key));
            }
        } catch (IOException e) {
            throw new AssertionError("an array has no input errors", e);
        }
        channelCredentials = tls.build();
        tlsBytes = bytes;
        return true;
    }

    private static byte[] read(Path file) {
        if (file == null) {
            return new byte[0];
        }
        try (InputStream input = Files.newInputStream(file)) {
            byte[] bytes = input.readNBytes(LARGEST_FILE + 1);
            if (bytes.length > LARGEST_FILE) {
                throw new MisusedException(file + " is larger than 1 MiB");
            }
            return bytes;
        } catch (IOException e) {
            throw new MisusedException(file + " cannot be read: " + e.getClass().getSimpleName());
        }
    }
}
