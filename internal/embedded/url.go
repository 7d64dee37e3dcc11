package embedded

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// parseRedisURL reads the URLs that OpenRedis documents. Its errors never
// contain the password.
func parseRedisURL(raw string) (*redis.UniversalOptions, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return nil, errors.New("no scheme; want redis://, rediss://, redis+sentinel:// or redis+cluster://")
	}
	// net/url refuses a list of host:port, so the hosts are taken out first.
	auth, rest := cutAuth(rest)
	rest, query, _ := strings.Cut(rest, "?")
	hosts, path, _ := strings.Cut(rest, "/")
	if query != "" {
		return nil, errors.New("parameters are not supported")
	}
	o := &redis.UniversalOptions{Addrs: splitHosts(hosts)}
	if len(o.Addrs) == 0 {
		return nil, errors.New("no host")
	}
	var err error
	if o.Username, o.Password, err = userInfo(auth); err != nil {
		return nil, err
	}
	base, secure := strings.CutPrefix(scheme, "rediss")
	if !secure {
		if base, ok = strings.CutPrefix(scheme, "redis"); !ok {
			return nil, fmt.Errorf("unknown scheme %q", scheme)
		}
	}
	if secure {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	switch base {
	case "":
		if len(o.Addrs) > 1 {
			return nil, errors.New("several hosts: say redis+sentinel:// or redis+cluster://")
		}
		o.DB, err = number(path)
	case "+sentinel":
		var db string
		o.MasterName, db, _ = strings.Cut(path, "/")
		if o.MasterName == "" {
			return nil, errors.New("redis+sentinel:// needs the master's name as its path")
		}
		o.SentinelUsername, o.SentinelPassword = o.Username, o.Password
		o.DB, err = number(db)
	case "+cluster":
		if path != "" {
			return nil, errors.New("a cluster has no numbered databases")
		}
		o.IsClusterMode = true
	default:
		return nil, fmt.Errorf("unknown scheme %q", scheme)
	}
	return o, err
}

func cutAuth(s string) (auth, rest string) {
	// The last @ before the path: a password may contain one if escaped only.
	end := len(s)
	if i := strings.IndexByte(s, '/'); i >= 0 {
		end = i
	}
	if i := strings.LastIndexByte(s[:end], '@'); i >= 0 {
		return s[:i], s[i+1:]
	}
	return "", s
}

func userInfo(auth string) (user, password string, err error) {
	user, password, _ = strings.Cut(auth, ":")
	if user, err = url.PathUnescape(user); err != nil {
		return "", "", errors.New("user or password is not percent-encoded")
	}
	if password, err = url.PathUnescape(password); err != nil {
		return "", "", errors.New("user or password is not percent-encoded")
	}
	return user, password, nil
}

func splitHosts(s string) []string {
	var hosts []string
	for h := range strings.SplitSeq(s, ",") {
		if h == "" {
			continue
		}
		if !strings.Contains(h, ":") || strings.HasSuffix(h, "]") {
			h += ":6379"
		}
		hosts = append(hosts, h)
	}
	return hosts
}

func number(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("database %q is no number", s)
	}
	return n, nil
}
