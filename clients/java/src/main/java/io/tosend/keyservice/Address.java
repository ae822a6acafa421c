package io.tosend.keyservice;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * An address as the user gives it: a host, which may stand for many replicas, and a port.
 *
 * @param host a name or an IP address, without brackets
 * @param port 1 to 65535
 */
record Address(String host, int port) {
    /** An IPv6 address stands in brackets. */
    private static final Pattern HOST_AND_PORT =
            Pattern.compile("(?:\\[([0-9A-Fa-f:.]+)]|([0-9A-Za-z._-]+)):([0-9]{1,5})");

    static Address parse(String text) {
        Matcher parts = HOST_AND_PORT.matcher(text);
        if (!parts.matches()) {
            throw new MisusedException("the address '" + text + "' is not host:port");
        }
        String host = parts.group(1) != null ? parts.group(1) : parts.group(2);
        int number = Integer.parseInt(parts.group(3));
        if (number < 1 || number > 65535) {
            throw new MisusedException("the address '" + text + "' has no port from 1 to 65535");
        }
        return new Address(host, number);
    }

    /** Asks the name service. This may block. */
    List<InetSocketAddress> lookUp() throws UnknownHostException {
        return Arrays.stream(InetAddress.getAllByName(host))
                .map(address -> new InetSocketAddress(address, port))
                .toList();
    }

    /** Whether the host is a name that is to be looked up. */
    boolean isName() {
        return !host.contains(":") && !host.matches("[0-9.]+") && !host.equals("localhost");
    }

    /** Whether what is sent there does not leave this machine. */
    boolean isLoopback() {
        return host.equals("localhost")
                || host.equals("::1")
                || host.matches("127\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}");
    }

    /** How people write the address of one replica. */
    static String text(InetSocketAddress replica) {
        return new Address(replica.getAddress().getHostAddress(), replica.getPort()).toString();
    }

    @Override
    public String toString() {
        return (host.contains(":") ? "[" + host + "]" : host) + ":" + port;
    }
}
