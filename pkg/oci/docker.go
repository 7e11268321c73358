package oci

import (
	"encoding/base64"
	"encoding/json"
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// dockerConfig is the part of docker's config.json that holds credentials, as
// Secrets of type kubernetes.io/dockerconfigjson do; what is kept outside of the
// file (credsStore, credHelpers) is not there.
type dockerConfig struct {
	Auths map[string]struct {
		Auth          string `json:"auth"`
		Username      string `json:"username"`
		Password      string `json:"password"`
		IdentityToken string `json:"identitytoken"`
		RegistryToken string `json:"registrytoken"`
	} `json:"auths"`
}

// DockerConfig reads the .dockerconfigjson of a Secret: the credential for a
// repository is the one of its host, or of the longest path below it. The error
// never repeats the content.
func DockerConfig(data []byte) (Credential, error) {
	var config dockerConfig
	if err := json.Unmarshal(data, &config); err != nil {
		return Credential{}, refuseConfig("it is no JSON of docker's config.json")
	}
	if config.Auths == nil {
		return Credential{}, refuseConfig("it has no auths")
	}
	logins := map[string]login{}
	for server, a := range config.Auths {
		l := login{username: a.Username, password: a.Password, identity: a.IdentityToken, bearer: a.RegistryToken}
		if a.Auth != "" {
			user, password, ok := decode(a.Auth)
			if !ok {
				return Credential{}, refuseConfig("an auth in it is not the base64 of user:password")
			}
			l.username, l.password = user, password
		}
		if l.username == "<token>" { // how docker marks that the password is none
			l.username, l.password = "", ""
		}
		logins[prefixOf(server)] = l
	}
	return Credential{&secret{logins: logins}}, nil
}

func refuseConfig(why string) error {
	return fault.Refuse(fault.SourceRefused, fault.Place{Field: ".dockerconfigjson"}, "read docker configuration: %s", why)
}

func decode(auth string) (user, password string, ok bool) {
	plain, err := base64.StdEncoding.DecodeString(strings.TrimRight(auth, "\r\n"))
	if err != nil {
		return "", "", false
	}
	user, password, ok = strings.Cut(string(plain), ":")
	return user, strings.TrimRight(password, "\x00"), ok
}

// prefixOf makes host[:port][/path] of a key, which may be a URL: docker login
// writes https://index.docker.io/v1/ for Docker Hub.
func prefixOf(server string) string {
	server = strings.TrimPrefix(strings.TrimPrefix(server, "https://"), "http://")
	host, below, _ := strings.Cut(strings.TrimRight(server, "/"), "/")
	if below == "v1" || below == "v2" {
		below = ""
	}
	return path.Join(canonicalHost(host), below)
}

// canonicalHost gives Docker Hub one name.
func canonicalHost(host string) string {
	host = strings.ToLower(host)
	if host == "docker.io" || host == "registry-1.docker.io" {
		return name.DefaultRegistry
	}
	return host
}

func (s *secret) find(host, repository string) login {
	for at := path.Join(canonicalHost(host), repository); at != "."; at = path.Dir(at) {
		if l, ok := s.logins[at]; ok {
			return l
		}
	}
	return login{}
}
