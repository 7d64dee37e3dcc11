package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Config is what a process needs to know before it can read its database.
type Config struct {
	Listen        string        // public address: callbacks, console, API
	Database      string        // postgres://... or sqlite:///file
	Redis         string        // redis://..., empty for the in-process one
	MasterKey     []byte        // 32 bytes that seal credentials and the spool
	DataDir       string        // spool and, embedded, the database file
	Roles         []string      // web, worker, socket
	PublicURL     string        // under which staff reach the console; empty: no links to it
	WeChatURL     string        // base of api.weixin.qq.com
	WeChatPages   string        // with a simulator: base of the pages of mp. and open.weixin.qq.com
	WeComURL      string        // base of qyapi.weixin.qq.com
	WeComSocket   string        // wss address of the aibot connection
	SMSURL        string        // base of dysmsapi.aliyuncs.com
	LogLevel      string        // debug, info, warn, error
	Budget        time.Duration // of one answer inside the callback
	Freshness     time.Duration // how old a signed callback may be
	StopBudget    time.Duration // of a clean stop
	MaxConns      int           // connections to PostgreSQL
	TrustedProxy  []string      // networks whose X-Forwarded-For is believed
	MetricsListen string        // second listener for /metrics and health; empty: on the public one
	Sandbox       bool          // any vendor address is a simulator: plain HTTP is allowed
}

// Vendors' own addresses.
const (
	wechatURL   = "https://api.weixin.qq.com"
	wecomURL    = "https://qyapi.weixin.qq.com"
	wecomSocket = "wss://openws.work.weixin.qq.com"
	smsURL      = "https://dysmsapi.aliyuncs.com"
)

// Role names.
const (
	RoleWeb    = "web"
	RoleWorker = "worker"
	RoleSocket = "socket"
)

// option is one row of the table of settings.
type option struct {
	name     string
	fallback string
	set      func(c *Config, value string) error
	help     string
	secret   bool
}

// options is every setting there is. A name in a file is the same in lower
// case; in the environment it is GUANJIA_ and upper case.
func options() []option {
	return []option{
		{"listen", "127.0.0.1:8080", func(c *Config, v string) error { c.Listen = v; return checkAddr(v) },
			"address that WeChat, Aliyun and browsers reach, such as 0.0.0.0:8080", false},
		{"public_url", "", publicURL,
			"address under which staff reach the console, such as https://guanjia.example.com, for links in work groups; empty: no links", false},
		{"database", "", func(c *Config, v string) error { c.Database = v; return checkDatabase(v) },
			"postgres://user:password@host/name, or sqlite:///path/guanjia.db for a single node", true},
		{"redis", "", func(c *Config, v string) error { c.Redis = v; return checkRedis(v) },
			"redis://:password@host:6379/0; several hosts separated by commas are a Cluster, ?master=NAME is Sentinel; empty only with SQLite", true},
		{"master_key", "", setMasterKey,
			"32 random bytes in base64 that seal credentials and spool; `openssl rand -base64 32` makes one", true},
		{"master_key_file", "", func(c *Config, v string) error { return setMasterKeyFile(c, v) },
			"a file that holds the master key, instead of master_key", false},
		{"data_dir", "./data", func(c *Config, v string) error { c.DataDir = v; return notEmpty(v) },
			"folder of this node for the spool; it must survive restarts", false},
		{"roles", "web,worker,socket", setRoles,
			"what this node does: web answers callbacks and pages, worker sends and runs duties, socket holds WeCom connections", false},
		{"wechat_url", wechatURL, vendorURL(func(c *Config) *string { return &c.WeChatURL }, "https", "http"),
			"base address of the Official Account API", false},
		{"wecom_url", wecomURL, vendorURL(func(c *Config) *string { return &c.WeComURL }, "https", "http"),
			"base address of the WeCom API", false},
		{"wecom_socket", wecomSocket, vendorURL(func(c *Config) *string { return &c.WeComSocket }, "wss", "ws"),
			"address of the WeCom bot connection", false},
		{"sms_url", smsURL, vendorURL(func(c *Config) *string { return &c.SMSURL }, "https", "http"),
			"base address of Aliyun SMS", false},
		{"sandbox", "", setSandbox,
			"address of `guanjia sandbox`: sets the four vendor addresses to the simulators", false},
		{"log_level", "info", func(c *Config, v string) error { c.LogLevel = v; return oneOf(v, "debug", "info", "warn", "error") },
			"debug, info, warn or error", false},
		{"answer_budget", "2s", duration(func(c *Config) *time.Duration { return &c.Budget }, 100*time.Millisecond, 4*time.Second),
			"how long a callback waits for its answer before it goes as a service message; WeChat hangs up after 5s", false},
		{"callback_freshness", "10m", duration(func(c *Config) *time.Duration { return &c.Freshness }, 10*time.Second, 24*time.Hour),
			"how old the timestamp of a signed callback may be", false},
		{"stop_budget", "10s", duration(func(c *Config) *time.Duration { return &c.StopBudget }, time.Second, time.Minute),
			"how long a clean stop may take", false},
		{"max_conns", "16", func(c *Config, v string) error { return integer(&c.MaxConns, v, 4, 500) },
			"connections to PostgreSQL, 4 to 500", false},
		{"trusted_proxies", "", setProxies,
			"networks of reverse proxies whose X-Forwarded-For is believed, such as 10.0.0.0/8", false},
		{"metrics_listen", "", func(c *Config, v string) error {
			c.MetricsListen = v
			if v == "" {
				return nil
			}
			return checkAddr(v)
		}, "a second address for /metrics, /healthz and /readyz; empty: on the first one", false},
	}
}

func checkAddr(v string) error {
	if _, _, err := net.SplitHostPort(v); err != nil {
		return fmt.Errorf("must be host:port, such as 0.0.0.0:8080")
	}
	return nil
}

func checkDatabase(v string) error {
	if v == "" {
		return nil
	}
	for _, p := range []string{"postgres://", "postgresql://", "sqlite://"} {
		if strings.HasPrefix(v, p) {
			return nil
		}
	}
	return errors.New("must begin with postgres:// or sqlite://")
}

func checkRedis(v string) error {
	if v == "" || strings.HasPrefix(v, "redis://") || strings.HasPrefix(v, "rediss://") {
		return nil
	}
	return errors.New("must begin with redis:// or rediss://")
}

func setMasterKey(c *Config, v string) error {
	if v == "" {
		return nil
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(v))
	if err != nil || len(key) != 32 {
		return errors.New("must be 32 bytes in base64; `openssl rand -base64 32` makes one")
	}
	c.MasterKey = key
	return nil
}

func setMasterKeyFile(c *Config, v string) error {
	if v == "" {
		return nil
	}
	b, err := os.ReadFile(v)
	if err != nil {
		return errors.New("the file can't be read")
	}
	return setMasterKey(c, string(b))
}

func setRoles(c *Config, v string) error {
	c.Roles = nil
	for _, r := range strings.Split(v, ",") {
		r = strings.TrimSpace(r)
		if err := oneOf(r, RoleWeb, RoleWorker, RoleSocket); err != nil {
			return err
		}
		c.Roles = append(c.Roles, r)
	}
	return nil
}

func setSandbox(c *Config, v string) error {
	if v == "" {
		return nil
	}
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return errors.New("must be an address such as http://127.0.0.1:8090")
	}
	base := "http://" + u.Host
	c.Sandbox = true
	c.WeChatURL = base + "/api.weixin.qq.com"
	c.WeChatPages = base
	c.WeComURL = base + "/qyapi.weixin.qq.com"
	c.WeComSocket = "ws://" + u.Host + "/openws.work.weixin.qq.com"
	c.SMSURL = base + "/dysmsapi.aliyuncs.com"
	return nil
}

func publicURL(c *Config, v string) error {
	if v == "" {
		return nil
	}
	u, err := url.Parse(v)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.RawQuery != "" {
		return errors.New("must be an address such as https://guanjia.example.com")
	}
	c.PublicURL = strings.TrimSuffix(v, "/")
	return nil
}

func vendorURL(field func(*Config) *string, secure, plain string) func(*Config, string) error {
	return func(c *Config, v string) error {
		u, err := url.Parse(v)
		if err != nil || u.Host == "" || (u.Scheme != secure && u.Scheme != plain) {
			return fmt.Errorf("must be an address that begins with %s://", secure)
		}
		if u.Scheme == plain && !loopback(u.Hostname()) {
			return fmt.Errorf("must begin with %s://; only a simulator on this machine may be plain", secure)
		}
		if u.Scheme == plain {
			c.Sandbox = true
		}
		*field(c) = strings.TrimSuffix(v, "/")
		return nil
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

func duration(field func(*Config) *time.Duration, low, high time.Duration) func(*Config, string) error {
	return func(c *Config, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < low || d > high {
			return fmt.Errorf("must be a time from %s to %s", low, high)
		}
		*field(c) = d
		return nil
	}
}

func integer(to *int, v string, low, high int) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		return fmt.Errorf("must be a number from %d to %d", low, high)
	}
	*to = n
	return nil
}

func setProxies(c *Config, v string) error {
	c.TrustedProxy = nil
	for _, p := range strings.Split(v, ",") {
		if p = strings.TrimSpace(p); p == "" {
			continue
		}
		if _, _, err := net.ParseCIDR(p); err != nil {
			return errors.New("must be networks such as 10.0.0.0/8, separated by commas")
		}
		c.TrustedProxy = append(c.TrustedProxy, p)
	}
	return nil
}

func oneOf(v string, allowed ...string) error {
	for _, a := range allowed {
		if v == a {
			return nil
		}
	}
	return fmt.Errorf("must be one of %s", strings.Join(allowed, ", "))
}

func notEmpty(v string) error {
	if v == "" {
		return errors.New("must not be empty")
	}
	return nil
}
