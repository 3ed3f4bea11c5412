/* SPDX-License-Identifier: Apache-2.0 */
/* jwt.c - callers with a JSON Web Token: `Authorization: Bearer TOKEN`, signed by an issuer whose keys are known.
 *
 * A token is judged on the worker that asks, once; from then on it is found in the cache, and what is looked at each
 * time is its end, its key, and the tenant. Where its key must be fetched first, the answer comes later, from the
 * source's thread. */
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sluice/auth.h>

#include "plugins/auth/jwt/cache.h"
#include "plugins/auth/jwt/claims.h"
#include "plugins/auth/jwt/jwks.h"
#include "plugins/auth/jwt/source.h"

enum { GAP_MIN_MS = 1000, WAIT_MAX_MS = 4500 };

struct jwt {
	const sl_host *host;
	EVP_MD *sha256; /* fetched once */
	uint64_t keep_ns;
	int pass_others; /* tokens of other issuers are for the next plugin */
	struct cache *cache;
	struct source *source;
	pthread_rwlock_t lock; /* of the three below; held for the check of one signature at most */
	struct settings *settings;
	struct jwks *keys; /* NULL: never had any */
	uint64_t keys_ns;  /* when they were fetched */
};

/* ---- the caller's header ---- */

static sl_str trim(sl_str s)
{
	while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
		s.ptr++;
		s.len--;
	}
	while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* What stands in "Bearer TOKEN"; the scheme's case does not matter. Empty: another scheme. */
static sl_str bearer(sl_str header)
{
	static const char scheme[] = "bearer";
	size_t len = sizeof scheme - 1;
	header = trim(header);
	if (header.len <= len || (header.ptr[len] != ' ' && header.ptr[len] != '\t'))
		return (sl_str){ 0 };
	for (size_t i = 0; i < len; i++)
		if ((header.ptr[i] | 0x20) != scheme[i])
			return (sl_str){ 0 };
	return trim((sl_str){ header.ptr + len, header.len - len });
}

/* ---- judging ---- */

static int hash(const struct jwt *j, sl_str text, unsigned char digest[CACHE_DIGEST])
{
	unsigned len = 0;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	int fine = context && EVP_DigestInit_ex(context, j->sha256, NULL) && EVP_DigestUpdate(context, text.ptr, text.len) &&
	           EVP_DigestFinal_ex(context, digest, &len) && len == CACHE_DIGEST;
	EVP_MD_CTX_free(context);
	return fine;
}

/* Everything about a token that the cache does not know. The lock is held, shared. SL_PENDING: its key is not known. */
static int judge_new(struct jwt *j, sl_str text, uint64_t wall_ms, const struct jwks *keys, struct cache_entry *entry,
                     struct refusal *why)
{
	struct token token;
	const struct jwks_key *key = NULL;
	int code = token_parse(text, &token, why);
	if (code != SL_OK)
		return code;
	const char *issuer = json_string_value(json_object_get(token.claims, "iss"));
	if (j->pass_others && (!issuer || strcmp(issuer, j->settings->issuer) != 0))
		code = SL_NOT_MINE;
	else
		code = claims_check(j->settings, &token, wall_ms, &entry->until_ms, why);
	if (code == SL_OK && (!keys || jwks_could_gain(keys, &token)))
		code = SL_PENDING;
	else if (code == SL_OK && (!(key = jwks_find(keys, &token)) || !jwks_verify(key, &token)))
		code = refuse(why, SL_EAUTH, "signature", "The token's signature cannot be verified.");
	else if (code == SL_OK)
		code = claims_identity(j->settings, token.claims, &entry->identity, why);
	if (code == SL_OK) {
		entry->key_id = key->id;
		entry->generation = j->settings->generation;
		j->host->count(j->host, "verified", 1);
	}
	token_free(&token);
	return code;
}

/* Whose token is it? What only the host knows (tenant, tier) is not looked at yet. */
static int judge(struct jwt *j, sl_str text, sl_identity *out, struct refusal *why)
{
	struct cache_entry entry = { 0 };
	uint64_t wall_ms = j->host->wall_ms(j->host);
	if (!hash(j, text, entry.digest))
		return refuse(why, SL_EINTERNAL, "internal", "The token could not be hashed.");
	pthread_rwlock_rdlock(&j->lock);
	const struct jwks *keys = j->keys && j->host->now_ns(j->host) - j->keys_ns < j->keep_ns ? j->keys : NULL;
	int code;
	if (keys && cache_find(j->cache, entry.digest, j->settings->generation, wall_ms, &entry) && jwks_has(keys, entry.key_id)) {
		j->host->count(j->host, "cached", 1);
		code = SL_OK;
	} else {
		code = judge_new(j, text, wall_ms, keys, &entry, why);
		if (code == SL_OK)
			cache_put(j->cache, &entry, wall_ms);
	}
	pthread_rwlock_unlock(&j->lock);
	if (code == SL_OK)
		*out = entry.identity;
	return code;
}

/* The tenant as it is now: a token says who somebody is, the host what he may. */
static int look_up_tenant(struct jwt *j, sl_identity *who, struct refusal *why)
{
	sl_str tenant = { who->tenant, strlen(who->tenant) }, tier = { who->tier[0] ? who->tier : NULL, strlen(who->tier) };
	sl_identity found = *who;
	why->event = "denied";
	int code = j->host->tenant_find(j->host, tenant, tier, &found, &why->error);
	*who = found;
	if (code == SL_OK && source_failing(j->source))
		j->host->count(j->host, "stale", 1); /* let in by keys that cannot be fetched again at the moment */
	return code;
}

static int decide(struct jwt *j, sl_str text, sl_identity *out, struct refusal *why)
{
	int code = judge(j, text, out, why);
	if (code == SL_OK)
		code = look_up_tenant(j, out, why);
	if (code < 0)
		j->host->count(j->host, why->event, 1);
	return code;
}

static int jwt_authenticate(void *self, const sl_auth_request *request, sl_token token, sl_identity *out, sl_error *error)
{
	struct jwt *j = self;
	struct refusal why = { .event = "internal" };
	sl_str text = request->authorization.ptr ? bearer(request->authorization) : (sl_str){ 0 };
	sl_str other = trim(request->api_key);
	if (!text.ptr || !token_shape(text))
		return SL_NOT_MINE;
	if (request->api_key.ptr && (other.len != text.len || memcmp(other.ptr, text.ptr, text.len) != 0)) {
		refuse(&why, SL_EINVAL, "malformed", "Authorization and x-api-key were both sent and differ; send one of them.");
		*error = why.error;
		return SL_EINVAL;
	}
	int code = decide(j, text, out, &why);
	if (code == SL_PENDING)
		code = source_wait(j->source, text, token);
	if (code == SL_EFULL) {
		j->host->count(j->host, "waiting_full", 1);
		code = refuse(&why, SL_EUNAVAILABLE, "waiting_full", "Too many callers wait for the keys of tokens. Try again in a moment.");
	}
	if (code < 0)
		*error = why.error;
	return code;
}

/* ---- for the source, on its thread ---- */

static int settle_waiter(void *arg, sl_str text, sl_token token)
{
	struct jwt *j = arg;
	struct refusal why = { .event = "internal" };
	sl_identity who;
	int code = decide(j, text, &who, &why);
	if (code == SL_OK)
		j->host->token_done(j->host, token, &who, sizeof who);
	else if (code < 0)
		j->host->token_fail(j->host, token, &why.error);
	return code;
}

static size_t missing(const struct jwks *from, const struct jwks *in)
{
	size_t n = 0;
	for (size_t i = 0; from && i < from->n_keys; i++)
		n += !in || !jwks_has(in, from->keys[i].id);
	return n;
}

static void take_keys(void *arg, struct jwks *set)
{
	struct jwt *j = arg;
	pthread_rwlock_wrlock(&j->lock);
	struct jwks *old = j->keys;
	j->keys = set;
	j->keys_ns = j->host->now_ns(j->host);
	pthread_rwlock_unlock(&j->lock);
	/* Only this thread replaces them, so they can be read without the lock. */
	size_t added = missing(set, old), gone = missing(old, set);
	if (added || gone) {
		j->host->count(j->host, "rotated", 1);
		j->host->log(j->host, SL_LOG_INFO, "%zu keys verify tokens: %zu are new, %zu are gone; %zu of the set are of no use for that",
		             set->n_keys, added, gone, set->n_skipped);
	}
	jwks_free(old);
}

/* ---- life ---- */

static char *text_option(const sl_host *host, const sl_conf *conf, const char *name)
{
	sl_str text = host->conf_str(conf, name);
	return text.len ? strndup(text.ptr, text.len) : NULL;
}

/* Keys must live until they are fetched again. */
static int check_times(const sl_host *host, const sl_conf *conf, sl_error *error)
{
	int64_t refresh = host->conf_int(conf, "refresh");
	const char *why = NULL;
	if (refresh < host->conf_int(conf, "gap"))
		why = "option 'refresh' is shorter than 'gap', the least time between two fetches";
	else if (host->conf_int(conf, "keep") < 2 * refresh)
		why = "option 'keep' is shorter than twice 'refresh': keys would be dropped while they are fetched as they should be";
	if (!why)
		return SL_OK;
	snprintf(error->text, sizeof error->text, "%s", why);
	return error->code = SL_EINVAL;
}

static int jwt_check(const sl_host *host, const sl_conf *conf, sl_error *error)
{
	struct settings *s = settings_new(host, conf, error);
	if (!s)
		return error->code;
	char *jwks = text_option(host, conf, "jwks");
	int code = source_check(s->issuer, jwks, error);
	if (code == SL_OK)
		code = check_times(host, conf, error);
	free(jwks);
	settings_free(s);
	return code;
}

static void jwt_close(void *self)
{
	struct jwt *j = self;
	source_close(j->source);
	cache_free(j->cache);
	settings_free(j->settings);
	jwks_free(j->keys);
	EVP_MD_free(j->sha256);
	pthread_rwlock_destroy(&j->lock);
	free(j);
}

static struct source *open_source(struct jwt *j, const sl_conf *conf, sl_error *error)
{
	const sl_host *host = j->host;
	char *jwks = text_option(host, conf, "jwks"), *ca_file = text_option(host, conf, "ca_file");
	struct source_options o = {
		.host = host, .issuer = j->settings->issuer, .jwks = jwks, .ca_file = ca_file,
		.refresh_ms = (uint64_t) host->conf_int(conf, "refresh"), .gap_ms = (uint64_t) host->conf_int(conf, "gap"),
		.keep_ms = (uint64_t) host->conf_int(conf, "keep"), .wait_ms = (uint64_t) host->conf_int(conf, "wait"),
		.timeout_ms = (unsigned) host->conf_int(conf, "timeout"), .waiting_max = (unsigned) host->conf_int(conf, "waiting"),
		.arg = j, .take = take_keys, .judge = settle_waiter,
	};
	struct source *source = source_open(&o, error);
	free(jwks);
	free(ca_file);
	return source;
}

static int jwt_open(const sl_host *host, const sl_conf *conf, void **self, sl_error *error)
{
	struct jwt *j = calloc(1, sizeof *j);
	pthread_rwlockattr_t attr;
	error->code = SL_ENOMEM;
	snprintf(error->text, sizeof error->text, "out of memory");
	if (!j)
		return error->code;
	/* Many callers must not keep new keys waiting. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&j->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	sl_str others = host->conf_str(conf, "others");
	j->host = host;
	j->keep_ns = (uint64_t) host->conf_int(conf, "keep") * 1000000;
	j->pass_others = others.len == 4 && memcmp(others.ptr, "pass", 4) == 0;
	j->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	j->cache = cache_new((size_t) host->conf_int(conf, "cache"));
	j->settings = j->sha256 && j->cache ? settings_new(host, conf, error) : NULL;
	j->source = j->settings ? open_source(j, conf, error) : NULL;
	if (!j->source) {
		jwt_close(j);
		return error->code;
	}
	*self = j;
	return SL_OK;
}

/* What was judged by the old settings is judged anew: their generation is another. */
static int jwt_reconfigure(void *self, const sl_conf *conf, sl_error *error)
{
	struct jwt *j = self;
	struct settings *s = settings_new(j->host, conf, error);
	if (!s)
		return error->code;
	pthread_rwlock_wrlock(&j->lock);
	struct settings *old = j->settings;
	j->settings = s;
	pthread_rwlock_unlock(&j->lock);
	settings_free(old);
	return SL_OK;
}

#define LIVE SL_OPTION_RELOADABLE
static const sl_option options[] = {
	{ .name = "issuer", .type = SL_OPTION_STRING, .flags = SL_OPTION_REQUIRED,
	  .help = "what the claim iss must be; without jwks, its OpenID configuration says where the keys are" },
	{ .name = "audience", .type = SL_OPTION_JSON, .flags = SL_OPTION_REQUIRED | LIVE,
	  .help = "a name, or a list of names, one of which the claim aud must have" },
	{ .name = "jwks", .type = SL_OPTION_STRING, .help = "URL or file of the keys, instead of the OpenID configuration" },
	{ .name = "ca_file", .type = SL_OPTION_PATH,
	  .help = "certificates that the issuer's server is verified with, instead of the system's" },
	{ .name = "algorithms", .type = SL_OPTION_JSON, .flags = LIVE,
	  .default_text = "[\"RS256\", \"PS256\", \"ES256\", \"EdDSA\"]", .help = "accepted algorithms; symmetric ones and none never are" },
	{ .name = "type", .type = SL_OPTION_STRING, .flags = LIVE,
	  .help = "what typ in the header must be, such as at+jwt; default: anything" },
	{ .name = "require", .type = SL_OPTION_JSON, .flags = LIVE,
	  .help = "a list of claims that must be there, or a table of claims and their values" },
	{ .name = "leeway", .type = SL_OPTION_DURATION, .flags = LIVE, .default_text = "30s", .min = 0, .max = 600000,
	  .help = "how much the issuer's clock may differ from ours" },
	{ .name = "max_age", .type = SL_OPTION_DURATION, .flags = LIVE, .default_text = "0s", .min = 0, .max = 366 * INT64_C(86400000),
	  .help = "longest time since the claim iat; 0s: no bound but exp" },
	{ .name = "tenant", .type = SL_OPTION_STRING, .flags = LIVE, .help = "tenant of every token" },
	{ .name = "tenant_claim", .type = SL_OPTION_STRING, .flags = LIVE,
	  .help = "claim that names the tenant, such as org or realm_access.roles" },
	{ .name = "tenants", .type = SL_OPTION_JSON, .flags = LIVE,
	  .help = "table of values of tenant_claim and tenants; \"*\": all other values; default: the value is the name" },
	{ .name = "user_claim", .type = SL_OPTION_STRING, .flags = LIVE, .default_text = "sub",
	  .help = "claim that names the user" },
	{ .name = "tier_claim", .type = SL_OPTION_STRING, .flags = LIVE,
	  .help = "claim that names the tier; default: the tenant's own" },
	{ .name = "tiers", .type = SL_OPTION_JSON, .flags = LIVE,
	  .help = "table of values of tier_claim and tiers, as tenants is" },
	{ .name = "scope_claim", .type = SL_OPTION_STRING, .flags = LIVE, .default_text = "scope",
	  .help = "claim that has the scopes" },
	{ .name = "roles", .type = SL_OPTION_JSON, .flags = LIVE,
	  .help = "table of scopes and roles (infer, lease, operator, admin, or a list); default: every token may infer" },
	{ .name = "others", .type = SL_OPTION_ENUM, .default_text = "refuse", .values = "refuse|pass",
	  .help = "tokens of other issuers: 401, or for the next plugin" },
	{ .name = "refresh", .type = SL_OPTION_DURATION, .default_text = "10m", .min = 1000, .max = 86400000,
	  .help = "time between two fetches of the keys" },
	{ .name = "gap", .type = SL_OPTION_DURATION, .default_text = "3s", .min = GAP_MIN_MS, .max = 3600000,
	  .help = "least time between two fetches, however many unknown keys are named" },
	{ .name = "keep", .type = SL_OPTION_DURATION, .default_text = "24h", .min = 1000, .max = 366 * INT64_C(86400000),
	  .help = "how long keys hold that cannot be fetched again" },
	{ .name = "timeout", .type = SL_OPTION_DURATION, .default_text = "10s", .min = 100, .max = 60000,
	  .help = "longest time for one document from the issuer" },
	{ .name = "wait", .type = SL_OPTION_DURATION, .default_text = "4s", .min = 0, .max = WAIT_MAX_MS,
	  .help = "how long a request may wait for the key of its token" },
	{ .name = "waiting", .type = SL_OPTION_INT, .default_text = "256", .min = 1, .max = 4000,
	  .help = "requests that may wait for keys at once" },
	{ .name = "cache", .type = SL_OPTION_INT, .default_text = "4096", .min = 8, .max = 1 << 20,
	  .help = "verified tokens that are remembered, 288 bytes each" },
};

static const sl_auth_ops ops = { .size = sizeof ops, .authenticate = jwt_authenticate };

SL_EXPORT const sl_plugin sluice_plugin = {
	SL_PLUGIN_HEAD(SL_KIND_AUTH),
	.name = "jwt",
	.version = "1.0",
	.summary = "callers with a JSON Web Token of an OpenID issuer",
	.options = options,
	.n_options = sizeof options / sizeof options[0],
	.check = jwt_check,
	.open = jwt_open,
	.reconfigure = jwt_reconfigure,
	.close = jwt_close,
	.ops = &ops,
};
