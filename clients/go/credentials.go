package keyservice

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// maxFileBytes is far above the size of any of the files, so that a wrong path cannot fill the memory.
const maxFileBytes = 1 << 20

// fileCredentials say who this service is and whom it trusts, by files that may change.
type fileCredentials struct {
	plaintext bool
	secret    watched[string]
	tls       watched[*tls.Config]
}

// watched is what was last read from some files without an error.
type watched[T any] struct {
	paths []string
	parse func(contents [][]byte) (T, error)

	value    atomic.Pointer[T]
	digest   [sha256.Size]byte // of the contents that value was made from
	reported string            // the last error that was logged
}

// newCredentials reads the files for the first time.
func newCredentials(options *Options) (*fileCredentials, error) {
	c := &fileCredentials{plaintext: options.Plaintext}
	c.secret.parse = parseSecret
	if options.SecretFile != "" {
		c.secret.paths = []string{options.SecretFile}
	}
	c.tls.parse = tlsParser(options.CAFile != "", options.CertFile != "")
	if options.CAFile != "" {
		c.tls.paths = append(c.tls.paths, options.CAFile)
	}
	if options.CertFile != "" {
		c.tls.paths = append(c.tls.paths, options.CertFile, options.KeyFile)
	}
	_, err1 := c.secret.read()
	_, err2 := c.tls.read()
	return c, errors.Join(err1, err2)
}

// refresh reads the files again. It reports whether connections should be made anew, because
// there are new certificates.
func (c *fileCredentials) refresh(log *slog.Logger) bool {
	c.secret.refresh(log)
	return c.tls.refresh(log)
}

// authenticate adds the bearer secret to a call. Metadata that the context has for other servers
// stays away from this one.
func (c *fileCredentials) authenticate(ctx context.Context) context.Context {
	if len(c.secret.paths) == 0 {
		return metadata.NewOutgoingContext(ctx, metadata.MD{})
	}
	return metadata.NewOutgoingContext(ctx, metadata.Pairs("authorization", "Bearer "+*c.secret.value.Load()))
}

// transport is for a new connection. It verifies the name in the connection's authority.
func (c *fileCredentials) transport() credentials.TransportCredentials {
	if c.plaintext {
		return insecure.NewCredentials()
	}
	return credentials.NewTLS(*c.tls.value.Load())
}

// refresh reads the files again, and reports whether they have changed. If they cannot be used,
// it logs why, once, and everything stays as it was.
func (w *watched[T]) refresh(log *slog.Logger) bool {
	changed, err := w.read()
	if err == nil {
		w.reported = ""
	} else if w.reported != err.Error() {
		w.reported = err.Error()
		log.Warn("keyservice: a file cannot be used, so its previous contents stay in use", "error", err)
	}
	return changed
}

func (w *watched[T]) read() (changed bool, err error) {
	contents := make([][]byte, len(w.paths))
	hash := sha256.New()
	for i, path := range w.paths {
		if contents[i], err = readFile(path); err != nil {
			return false, err
		}
		fmt.Fprintf(hash, "%d:%s", len(contents[i]), contents[i])
	}
	digest := [sha256.Size]byte(hash.Sum(nil))
	if w.value.Load() != nil && digest == w.digest {
		return false, nil
	}
	value, err := w.parse(contents)
	if err != nil {
		return false, fmt.Errorf("%s: %w", strings.Join(w.paths, ", "), err)
	}
	w.value.Store(&value)
	w.digest = digest
	return true, nil
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	contents, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if len(contents) > maxFileBytes {
		return nil, fmt.Errorf("%s: the file has more than %d bytes", path, maxFileBytes)
	}
	return contents, err
}

// parseSecret must never repeat the contents in an error.
func parseSecret(contents [][]byte) (string, error) {
	if len(contents) == 0 {
		return "", nil
	}
	secret := strings.TrimSpace(string(contents[0]))
	isInvisible := func(r rune) bool { return r <= ' ' || r > '~' }
	if secret == "" || strings.ContainsFunc(secret, isInvisible) {
		return "", errors.New("the file must contain one bearer secret: visible ASCII characters on one line")
	}
	return secret, nil
}

// tlsParser returns a function that takes the contents of the authorities' file, if there is one,
// and of the certificate and its key, if there are any.
func tlsParser(hasAuthorities, hasCertificate bool) func([][]byte) (*tls.Config, error) {
	return func(contents [][]byte) (*tls.Config, error) {
		config := &tls.Config{MinVersion: tls.VersionTLS12}
		if hasAuthorities {
			authorities, err := parseAuthorities(contents[0])
			if err != nil {
				return nil, err
			}
			config.RootCAs = authorities
			contents = contents[1:]
		}
		if hasCertificate {
			certificate, err := tls.X509KeyPair(contents[0], contents[1])
			if err != nil {
				return nil, err
			}
			config.Certificates = []tls.Certificate{certificate}
		}
		return config, nil
	}
}

// parseAuthorities refuses a file that is cut off, which x509.AppendCertsFromPEM does not.
func parseAuthorities(rest []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	count := 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		pool.AddCert(certificate)
		count++
	}
	if count == 0 || bytes.Contains(rest, []byte("-----BEGIN")) {
		return nil, errors.New("the file must contain certificates of authorities in PEM, and nothing that is cut off")
	}
	return pool, nil
}
