package git

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// App is a GitHub App as installed for an owner.
type App struct {
	ID             string // of the App, or its client id
	InstallationID string
	PrivateKey     []byte // PEM, as GitHub hands it out
	API            URL    // from ParseAPI; the zero value is https://api.github.com
}

// GitHubApp is a credential that is changed for an installation token before a
// fetch. The Store that fetches keeps the token until five minutes before its
// end, asks for one at a time, and asks once anew when a server refuses it.
//
// An error is permanent, with reason SourceRefused, and names what is wrong.
func GitHubApp(a App) (Credential, error) {
	switch {
	case !plainID(a.ID):
		return Credential{}, refuseApp("the App's id (key githubAppID of the Secret) is no number or client id")
	case !digits(a.InstallationID):
		return Credential{}, refuseApp("the installation's id (key githubAppInstallationID of the Secret) is no number")
	}
	if _, err := rsaKey(a.PrivateKey); err != nil {
		return Credential{}, refuseApp("the private key (key githubAppPrivateKey of the Secret): %w", err)
	}
	if a.API == (URL{}) {
		a.API = URL{scheme: "https", host: "api.github.com"}
	}
	return credential(secret{app: &a}), nil
}

func refuseApp(format string, args ...any) error {
	return fault.Refuse(fault.SourceRefused, fault.Place{}, "read GitHub App: "+format, args...)
}

func digits(s string) bool {
	return s != "" && len(s) <= 20 && strings.Trim(s, "0123456789") == ""
}

func plainID(s string) bool {
	letter := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '.' || r == '-' || r == '_'
	}
	return s != "" && len(s) <= 100 && !strings.ContainsFunc(s, func(r rune) bool { return !letter(r) })
}

// rsaKey never repeats what it could not parse.
func rsaKey(text []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is not PEM; give it as GitHub hands it out")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if key, ok := parsed.(*rsa.PrivateKey); ok && err == nil {
		return key, nil
	}
	return nil, errors.New("it is no RSA private key; give it as GitHub hands it out")
}

// ParseAPI reads the base URL of a Git host's API, as in https://api.github.com or
// https://github.example.com/api/v3, under the rules of ParseURL.
func ParseAPI(s string, insecureHosts []string) (URL, error) {
	p, err := url.Parse(s)
	if err != nil {
		return URL{}, refuseAPI("it does not parse") // url.Error repeats the URL
	}
	u := URL{scheme: strings.ToLower(p.Scheme), host: strings.ToLower(p.Host), path: strings.TrimRight(p.Path, "/")}
	switch {
	case u.scheme != "https" && u.scheme != "http", p.Opaque != "", u.hostname() == "":
		return URL{}, refuseAPI("it is no https URL")
	case p.User != nil, p.RawQuery != "", p.Fragment != "":
		return URL{}, refuseAPI("it carries a credential, a query or a fragment")
	case strings.Contains(u.path+"/", "/../"), strings.Contains(u.path, "//"):
		return URL{}, refuseAPI("its path holds dots or an empty segment")
	}
	if err := u.checkHost(insecureHosts); err != nil {
		return URL{}, err
	}
	return u, nil
}

func refuseAPI(why string) error {
	return fault.Refuse(fault.SourceRefused, fault.Place{}, "read API URL: %s; write it as in https://github.example.com/api/v3", why)
}

// Times of GitHub's documentation, "Generating a JSON Web Token (JWT) for a GitHub
// App": at most ten minutes to its end, issued a minute ago against clock drift.
const (
	jwtAge  = time.Minute
	jwtLife = 9 * time.Minute
)

// jwt is the App's own token, good for asking for others.
func (a *App) jwt(now time.Time) (string, error) {
	key, err := rsaKey(a.PrivateKey)
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]any{"iss": a.ID, "iat": now.Add(-jwtAge).Unix(), "exp": now.Add(jwtLife).Unix()})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", errors.New("the private key cannot sign")
	}
	return text + "." + encode(signature), nil
}

// String names the App, and neither its key nor anything made with it.
func (a App) String() string { return fmt.Sprintf("GitHub App %s", a.ID) }

// GoString is String.
func (a App) GoString() string { return a.String() }

// MarshalText is String, so that no encoder writes the key.
func (a App) MarshalText() ([]byte, error) { return []byte(a.String()), nil }
