package dashboard

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// TokenFile is the file in the data directory that holds the bearer token of
// the API. Who can read it may use the API; `plumb` reads it by default.
const TokenFile = "token"

// minToken is the least length of a token that somebody else put there.
const minToken = 16

// ensureToken reads the token, or creates it for the owner alone.
func ensureToken(dataDir string) (string, error) {
	path := filepath.Join(dataDir, TokenFile)
	token, err := readToken(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return token, err
	}
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return "", fmt.Errorf("create the API token: %w", err)
	}
	if err := createToken(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("create the API token: %w", err)
	}
	return readToken(path)
}

func readToken(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the API token: %w", err)
	}
	token := string(bytes.TrimSpace(content))
	if len(token) < minToken {
		return "", fmt.Errorf("read the API token: %s holds fewer than %d characters; remove the file to get a new one", path, minToken)
	}
	return token, nil
}

// createToken puts a whole file in its place at once: another process may be
// about to do the same, and the first wins.
func createToken(path string) error {
	random := make([]byte, 32)
	rand.Read(random)                                           // never fails, crypto/rand
	f, err := os.CreateTemp(filepath.Dir(path), TokenFile+"-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(hex.EncodeToString(random) + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}
