package io.tosend.keyservice;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.Signature;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;

/**
 * Reads PEM files. The errors name the file and what is wrong, and show nothing of what is in it.
 *
 * <p>gRPC takes private keys as PKCS #8 only. OpenSSL and cert-manager also write the older forms,
 * PKCS #1 for RSA and SEC 1 for elliptic curves, so these are converted here.
 */
final class Pem {
    private static final Pattern BEGIN = Pattern.compile("-----BEGIN ");
    private static final Pattern BLOCK =
            Pattern.compile("-----BEGIN ([A-Z0-9 ]+)-----([A-Za-z0-9+/=\\s]*)-----END \\1-----");

    private static final byte[] DER_VERSION_0 = {2, 1, 0};
    private static final int DER_OCTET_STRING = 0x04;
    private static final int DER_SEQUENCE = 0x30;

    private Pem() {}

    /** The certificates of a file: at least one. */
    static List<Certificate> certificates(Path file, byte[] pem) {
        List<Certificate> certificates = new ArrayList<>();
        for (MatchResult block : blocks(file, pem)) {
            if (block.group(1).equals("CERTIFICATE")) {
                try (var der = new ByteArrayInputStream(decode(block))) {
                    var factory = CertificateFactory.getInstance("X.509");
                    certificates.add(factory.generateCertificate(der));
                } catch (GeneralSecurityException | IOException e) {
                    throw new MisusedException(file + " has a certificate that cannot be read");
                }
            }
        }
        if (certificates.isEmpty()) {
            throw new MisusedException(file + " has no certificate in PEM");
        }
        return certificates;
    }

    /** The private key of a certificate, as PKCS #8 in PEM. */
    static byte[] keyOf(Certificate certificate, Path file, byte[] pem) {
        MatchResult block =
                blocks(file, pem).stream()
                        .filter(b -> b.group(1).endsWith("PRIVATE KEY"))
                        .findFirst()
                        .orElseThrow(
                                () -> new MisusedException(file + " has no private key in PEM"));
        PublicKey publicKey = certificate.getPublicKey();
        byte[] pkcs8 =
                switch (block.group(1)) {
                    case "PRIVATE KEY" -> decode(block);
                    case "RSA PRIVATE KEY", "EC PRIVATE KEY" -> toPkcs8(publicKey, decode(block));
                    default ->
                            throw new MisusedException(
                                    file
                                            + " has an "
                                            + block.group(1)
                                            + ": use one that is not encrypted");
                };
        try {
            PrivateKey key =
                    KeyFactory.getInstance(publicKey.getAlgorithm())
                            .generatePrivate(new PKCS8EncodedKeySpec(pkcs8));
            if (!belongTogether(publicKey, key)) {
                throw new MisusedException(file + " is not the key of the certificate");
            }
        } catch (GeneralSecurityException e) {
            throw new MisusedException(
                    file
                            + " has a key that cannot be read, or is of another kind than the"
                            + " certificate's");
        }
        String text = Base64.getMimeEncoder().encodeToString(pkcs8);
        return ("-----BEGIN PRIVATE KEY-----\n" + text + "\n-----END PRIVATE KEY-----\n")
                .getBytes(StandardCharsets.US_ASCII);
    }

    /** The blocks of a file. One that is cut off is an error, and is not left out. */
    private static List<MatchResult> blocks(Path file, byte[] pem) {
        String text = new String(pem, StandardCharsets.ISO_8859_1);
        List<MatchResult> blocks = BLOCK.matcher(text).results().toList();
        if (blocks.size() != BEGIN.matcher(text).results().count()) {
            throw new MisusedException(file + " has PEM that is incomplete or encrypted");
        }
        return blocks;
    }

    private static byte[] decode(MatchResult block) {
        try {
            return Base64.getMimeDecoder().decode(block.group(2));
        } catch (IllegalArgumentException e) {
            return new byte[0]; // which is not a certificate or a key either
        }
    }

    private static boolean belongTogether(PublicKey publicKey, PrivateKey privateKey)
            throws GeneralSecurityException {
        String algorithm =
                switch (publicKey.getAlgorithm()) {
                    case "RSA" -> "SHA256withRSA";
                    case "EC" -> "SHA256withECDSA";
                    default -> publicKey.getAlgorithm();
                };
        byte[] message = {1};
        Signature signature = Signature.getInstance(algorithm);
        signature.initSign(privateKey);
        signature.update(message);
        byte[] signed = signature.sign();
        signature.initVerify(publicKey);
        signature.update(message);
        return signature.verify(signed);
    }

    /**
     * Puts an older form of a key into PKCS #8, which is {@code SEQUENCE {0, algorithm, OCTET
     * STRING {key}}}. A public key begins with the same algorithm: {@code SEQUENCE {algorithm,
     * key}}.
     */
    private static byte[] toPkcs8(PublicKey publicKey, byte[] key) {
        byte[] encoded = publicKey.getEncoded();
        int start = encoded[1] >= 0 ? 2 : 2 + (encoded[1] & 0x7f); // behind the length
        byte[] algorithm = Arrays.copyOfRange(encoded, start, start + 2 + encoded[start + 1]);
        return der(DER_SEQUENCE, DER_VERSION_0, algorithm, der(DER_OCTET_STRING, key));
    }

    private static byte[] der(int tag, byte[]... parts) {
        int length = Arrays.stream(parts).mapToInt(part -> part.length).sum();
        var der = new ByteArrayOutputStream();
        der.write(tag);
        if (length >= 0x100) {
            der.write(0x82);
            der.write(length >> 8);
        } else if (length >= 0x80) {
            der.write(0x81);
        }
        der.write(length);
        for (byte[] part : parts) {
            der.writeBytes(part);
        }
        return der.toByteArray();
    }
}
