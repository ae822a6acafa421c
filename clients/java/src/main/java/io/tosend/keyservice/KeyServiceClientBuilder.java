package io.tosend.keyservice;

import io.opentelemetry.api.GlobalOpenTelemetry;
import io.opentelemetry.api.OpenTelemetry;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/**
 * The options of a {@link KeyServiceClient}. Only addresses are required.
 *
 * <p>It holds the paths of files, and never what is in them.
 */
public final class KeyServiceClientBuilder {
    /** No call takes longer, so that a time added to the clock never overflows. */
    private static final Duration LONGEST = Duration.ofDays(1);

    final List<Address> addresses = new ArrayList<>();
    Path certificateFile;
    Path keyFile;
    Path authoritiesFile;
    Path secretFile;
    String serverName;
    boolean plaintext;
    Duration deadline = Duration.ofSeconds(1);
    Duration adminDeadline = Duration.ofSeconds(10);
    Duration attemptTimeout = Duration.ofMillis(200);
    int maxAttempts = 4;
    OpenTelemetry openTelemetry;

    KeyServiceClientBuilder() {}

    /**
     * Adds addresses of replicas.
     *
     * @param addresses each {@code host:port}. A name may stand for many replicas: all its
     *     addresses are used, and looked up again every 5 seconds and whenever no replica is ready.
     * @return this
     * @throws MisusedException if one is not {@code host:port}
     */
    public KeyServiceClientBuilder addresses(String... addresses) {
        for (String address : addresses) {
            this.addresses.add(Address.parse(address));
        }
        return this;
    }

    /**
     * Shows a client certificate to the replicas (mTLS).
     *
     * @param certificateFile the certificate and the intermediate ones above it, in PEM
     * @param keyFile its private key, in PEM and not encrypted
     * @return this
     */
    public KeyServiceClientBuilder certificate(Path certificateFile, Path keyFile) {
        this.certificateFile = Objects.requireNonNull(certificateFile, "certificateFile");
        this.keyFile = Objects.requireNonNull(keyFile, "keyFile");
        return this;
    }

    /**
     * Sends a bearer secret with each call.
     *
     * @param secretFile a file that contains only the secret, {@code tsop_…}. White space around it
     *     is ignored.
     * @return this
     */
    public KeyServiceClientBuilder secretFile(Path secretFile) {
        this.secretFile = Objects.requireNonNull(secretFile, "secretFile");
        return this;
    }

    /**
     * Trusts these authorities, and no others, to say who a replica is.
     *
     * @param authoritiesFile their certificates, in PEM. By default, the authorities are those that
     *     the Java runtime trusts.
     * @return this
     */
    public KeyServiceClientBuilder authoritiesFile(Path authoritiesFile) {
        this.authoritiesFile = Objects.requireNonNull(authoritiesFile, "authoritiesFile");
        return this;
    }

    /**
     * Expects this name in the replicas' certificates.
     *
     * @param serverName a host name. By default, it is the host of the address.
     * @return this
     * @throws MisusedException if it is not a host name
     */
    public KeyServiceClientBuilder serverName(String serverName) {
        if (!serverName.matches("[0-9A-Za-z._-]+")) {
            throw new MisusedException("the server name '" + serverName + "' is not a host name");
        }
        this.serverName = serverName;
        return this;
    }

    /**
     * Calls without TLS. Use this only where something else, such as a service mesh, keeps others
     * out. It is refused together with a bearer secret, unless all addresses are of this machine.
     *
     * @return this
     */
    public KeyServiceClientBuilder plaintext() {
        this.plaintext = true;
        return this;
    }

    /**
     * Sets how long a call of {@code authorize} may take, with all its attempts.
     *
     * @param deadline 1 second by default; more than 0, and at most a day
     * @return this
     * @throws MisusedException if it is not
     */
    public KeyServiceClientBuilder deadline(Duration deadline) {
        this.deadline = checked("deadline", deadline);
        return this;
    }

    /**
     * Sets how long an admin call may take, with all its attempts.
     *
     * @param adminDeadline 10 seconds by default; more than 0, and at most a day
     * @return this
     * @throws MisusedException if it is not
     */
    public KeyServiceClientBuilder adminDeadline(Duration adminDeadline) {
        this.adminDeadline = checked("adminDeadline", adminDeadline);
        return this;
    }

    /**
     * Sets how long one attempt of {@code authorize} may take. It takes at most half of the call's
     * deadline.
     *
     * @param attemptTimeout 200 milliseconds by default; more than 0, and at most a day
     * @return this
     * @throws MisusedException if it is not
     */
    public KeyServiceClientBuilder attemptTimeout(Duration attemptTimeout) {
        this.attemptTimeout = checked("attemptTimeout", attemptTimeout);
        return this;
    }

    /**
     * Sets how many attempts a call makes at most.
     *
     * @param maxAttempts 4 by default; 1 to 10
     * @return this
     * @throws MisusedException if it is not
     */
    public KeyServiceClientBuilder maxAttempts(int maxAttempts) {
        if (maxAttempts < 1 || maxAttempts > 10) {
            throw new MisusedException("maxAttempts must be 1 to 10, and not " + maxAttempts);
        }
        this.maxAttempts = maxAttempts;
        return this;
    }

    /**
     * Measures with this.
     *
     * @param openTelemetry by default, what {@link GlobalOpenTelemetry} has when the client is
     *     opened
     * @return this
     */
    public KeyServiceClientBuilder openTelemetry(OpenTelemetry openTelemetry) {
        this.openTelemetry = Objects.requireNonNull(openTelemetry, "openTelemetry");
        return this;
    }

    /**
     * Reads the files and opens the client, which then begins to connect to all replicas. This does
     * not wait for any of them.
     *
     * @return the client. Close it at the end.
     * @throws MisusedException if options are missing or contradict each other, or a file cannot be
     *     used
     */
    public KeyServiceClient open() {
        if (addresses.isEmpty()) {
            throw new MisusedException("no address of a replica is given");
        }
        if (plaintext
                && (certificateFile != null || authoritiesFile != null || serverName != null)) {
            throw new MisusedException(
                    "plaintext excludes a certificate, an authorities' file and a server name");
        }
        if (plaintext && secretFile != null && !addresses.stream().allMatch(Address::isLoopback)) {
            throw new MisusedException(
                    "a bearer secret in plain text is sent only to localhost, 127.0.0.1 or ::1");
        }
        return new KeyServiceClient(this);
    }

    @Override
    public String toString() {
        return "KeyServiceClientBuilder[addresses="
                + addresses
                + ", plaintext="
                + plaintext
                + ", authoritiesFile="
                + authoritiesFile
                + ", certificateFile="
                + certificateFile
                + ", keyFile="
                + keyFile
                + ", secretFile="
                + secretFile
                + "]";
    }

    static Duration checked(String name, Duration duration) {
        if (duration.compareTo(Duration.ZERO) <= 0 || duration.compareTo(LONGEST) > 0) {
            throw new MisusedException(
                    name + " must be more than 0 and at most a day, and not " + duration);
        }
        return duration;
    }
}
