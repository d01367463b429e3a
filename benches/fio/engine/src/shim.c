/*
 * fio's structures, and nothing else: each function passes plain numbers and addresses on to ffi.rs. Compiled against the
 * headers of one fio; only named fields are used, so the source is the same for every version.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fio.h"
#include "optgroup.h"

/* What is between here and ffi.rs; both sides declare it. */
struct corelane_options {
	const char *address, *subnqn, *hostnqn, *hostid, *pcie;
	uint32_t port, header_digest, data_digest, flow_control, timeout_ms, depth;
};

struct corelane_geometry {
	uint64_t bytes, transfer_bytes_max;
	uint32_t nsid, block_size;
};

struct corelane_io {
	uint64_t tag, offset, bytes;
	void *buffer;
	uint32_t operation, nsid, block_size;
};

struct corelane_event {
	uint64_t tag;
	uint32_t failure;
	int error;
};

enum { READS, WRITES, TRIMS, FLUSHES };
enum { TAKEN, BUSY };

struct corelane_job;
int corelane_fio_survey(const struct corelane_options *, uint32_t nsid, struct corelane_geometry *);
struct corelane_job *corelane_fio_open(const struct corelane_options *);
void *corelane_fio_memory(struct corelane_job *, size_t);
int corelane_fio_start(struct corelane_job *);
uint32_t corelane_fio_submit(struct corelane_job *, const struct corelane_io *);
void corelane_fio_commit(struct corelane_job *);
uint32_t corelane_fio_poll(struct corelane_job *, uint32_t least, uint32_t most, struct corelane_event *, int64_t limit_ns);
void corelane_fio_quiet(struct corelane_job *);
void corelane_fio_close(struct corelane_job *);
int corelane_fio_errno(uint32_t failure);
void corelane_fio_explain(uint32_t failure, char *, size_t);
struct ioengine_ops *corelane_fio_operations(void);

/* What the user says. The first member is fio's. */
struct options {
	void *pad;
	char *address, *subnqn, *hostnqn, *hostid, *pcie;
	unsigned int port, header_digest, data_digest, flow_control, timeout_ms, namespace;
};

#define OPTION(field, words, kind) \
	.name = #field, .lname = words, .type = kind, .off1 = offsetof(struct options, field), \
	.category = FIO_OPT_C_ENGINE, .group = FIO_OPT_G_INVALID

static struct fio_option options[] = {
	{ OPTION(subnqn, "Subsystem", FIO_OPT_STR_STORE), .help = "NQN of the subsystem over NVMe/TCP" },
	{ OPTION(address, "Address", FIO_OPT_STR_STORE), .help = "Its host, by name or address", .def = "127.0.0.1" },
	{ OPTION(port, "Port", FIO_OPT_INT), .help = "Its port", .def = "4420", .minval = 1, .maxval = 65535 },
	{ OPTION(pcie, "PCIe device", FIO_OPT_STR_STORE),
	  .help = "Instead of a subsystem: address of a device that is bound to vfio-pci, such as 0000:00:05.0" },
	{ OPTION(namespace, "Namespace", FIO_OPT_INT),
	  .help = "NSID of jobs without filename; the first active one where it is 0", .def = "0" },
	{ OPTION(hostnqn, "Host", FIO_OPT_STR_STORE), .help = "Name of this host; made up where none is given" },
	{ OPTION(hostid, "Host identifier", FIO_OPT_STR_STORE), .help = "UUID of this host; that of its name where none is given" },
	{ OPTION(header_digest, "Header digest", FIO_OPT_BOOL), .help = "Ask for digests of headers", .def = "0" },
	{ OPTION(data_digest, "Data digest", FIO_OPT_BOOL), .help = "Ask for digests of data", .def = "0" },
	{ OPTION(flow_control, "SQ flow control", FIO_OPT_BOOL),
	  .help = "Keep SQ flow control: each read has a response of its own", .def = "0" },
	{ OPTION(timeout_ms, "Time limit", FIO_OPT_INT),
	  .help = "Of connecting, and of each command, in milliseconds", .def = "10000", .minval = 1 },
	{ .name = NULL },
};

/* What a job has beside its Rust half. */
struct state {
	struct corelane_job *job;
	struct corelane_event *events;
	/* Taken, and not committed. */
	struct io_u **queued;
	unsigned int queued_count, depth;
};

static struct corelane_options given(struct thread_data *td)
{
	struct options *o = td->eo;
	struct corelane_options options = {
		.address = o->address, .subnqn = o->subnqn, .hostnqn = o->hostnqn, .hostid = o->hostid, .pcie = o->pcie,
		.port = o->port, .header_digest = o->header_digest, .data_digest = o->data_digest,
		.flow_control = o->flow_control, .timeout_ms = o->timeout_ms, .depth = td->o.iodepth,
	};
	return options;
}

/* The namespace of a file: its name, or the option where the job has no filename. Returns whether there is one. */
static int namespace_of(struct thread_data *td, struct fio_file *f, uint32_t *nsid)
{
	struct options *o = td->eo;
	unsigned long long number;
	char *end;

	*nsid = o->namespace;
	if (!td->o.filename)
		return 1;
	errno = 0;
	number = strtoull(f->file_name, &end, 10);
	*nsid = (uint32_t) number;
	return !errno && end != f->file_name && !*end && number >= 1 && number < UINT32_MAX
		&& f->file_name[0] >= '0' && f->file_name[0] <= '9';
}

static int sizes_fit(struct thread_data *td, const struct corelane_geometry *geometry)
{
	int ddir;

	for (ddir = DDIR_READ; ddir < DDIR_RWDIR_CNT; ddir++) {
		if (td->o.min_bs[ddir] % geometry->block_size) {
			log_err("fio: corelane: bs=%llu is no multiple of the blocks of namespace %u, which have %u bytes\n",
				(unsigned long long) td->o.min_bs[ddir], geometry->nsid, geometry->block_size);
			return 0;
		}
		if (ddir != DDIR_TRIM && td->o.max_bs[ddir] > geometry->transfer_bytes_max) {
			log_err("fio: corelane: bs=%llu is more than the %llu bytes of one command to this controller (MDTS)\n",
				(unsigned long long) td->o.max_bs[ddir], (unsigned long long) geometry->transfer_bytes_max);
			return 0;
		}
	}
	return 1;
}

/* In fio's main thread, for each job, before the first one begins. */
static int engine_setup(struct thread_data *td)
{
	struct corelane_options options = given(td);
	struct corelane_geometry *geometry;
	struct fio_file *f;
	unsigned int i;
	uint32_t nsid;
	int error;

	/* One process: its jobs share a device, and nothing of ours survives a fork. */
	td->o.use_thread = 1;
	if (!td->o.filename && td->o.nr_files > 1) {
		log_err("fio: corelane: nrfiles=%u needs filename=, with a namespace for each file, such as 1:2\n", td->o.nr_files);
		td_verror(td, EINVAL, "nrfiles");
		return 1;
	}
	for_each_file(td, f, i) {
		if (!namespace_of(td, f, &nsid)) {
			log_err("fio: corelane: filename=%s is no namespace: give its number\n", f->file_name);
			td_verror(td, EINVAL, "filename");
			return 1;
		}
		geometry = calloc(1, sizeof(*geometry));
		if (!geometry) {
			td_verror(td, ENOMEM, "setup");
			return 1;
		}
		error = corelane_fio_survey(&options, nsid, geometry);
		if (!error && !sizes_fit(td, geometry))
			error = EINVAL;
		if (error) {
			free(geometry);
			td_verror(td, error, "setup");
			return 1;
		}
		free(FILE_ENG_DATA(f));
		FILE_SET_ENG_DATA(f, geometry);
		f->filetype = FIO_TYPE_BLOCK;
		f->real_file_size = geometry->bytes;
		fio_file_set_size_known(f);
	}
	return 0;
}

static void engine_cleanup(struct thread_data *td)
{
	struct state *state = td->io_ops_data;

	if (!state)
		return;
	if (state->job)
		corelane_fio_close(state->job);
	free(state->events);
	free(state->queued);
	free(state);
	td->io_ops_data = NULL;
}

static int engine_init(struct thread_data *td)
{
	struct corelane_options options = given(td);
	struct state *state;

	if (!td->o.create_serialize) {
		log_err("fio: corelane: create_serialize=0 is not supported: namespaces are looked at before jobs begin\n");
		return EINVAL;
	}
	state = calloc(1, sizeof(*state));
	if (!state)
		return ENOMEM;
	td->io_ops_data = state;
	state->depth = td->o.iodepth;
	state->events = calloc(state->depth, sizeof(*state->events));
	state->queued = calloc(state->depth, sizeof(*state->queued));
	if (!state->events || !state->queued)
		return ENOMEM;
	state->job = corelane_fio_open(&options);
	return state->job ? 0 : ENODEV;
}

static int engine_post_init(struct thread_data *td)
{
	struct state *state = td->io_ops_data;
	int error = corelane_fio_start(state->job);

	if (error)
		td_verror(td, error, "post_init");
	return error != 0;
}

static int engine_iomem_alloc(struct thread_data *td, size_t bytes)
{
	struct state *state = td->io_ops_data;

	td->orig_buffer = corelane_fio_memory(state->job, bytes);
	return td->orig_buffer == NULL;
}

static void engine_iomem_free(struct thread_data *td)
{
	struct state *state = td->io_ops_data;

	if (state && state->job)
		corelane_fio_quiet(state->job);
	td->orig_buffer = NULL;
}

static int operation_of(enum fio_ddir ddir)
{
	switch (ddir) {
	case DDIR_READ:
		return READS;
	case DDIR_WRITE:
		return WRITES;
	case DDIR_TRIM:
		return TRIMS;
	case DDIR_SYNC:
	case DDIR_DATASYNC:
	case DDIR_SYNC_FILE_RANGE:
		return FLUSHES;
	default:
		return -1;
	}
}

static enum fio_q_status engine_queue(struct thread_data *td, struct io_u *io_u)
{
	struct state *state = td->io_ops_data;
	struct corelane_geometry *geometry = FILE_ENG_DATA(io_u->file);
	struct corelane_io io = {
		.tag = (uintptr_t) io_u, .offset = io_u->offset, .bytes = io_u->xfer_buflen, .buffer = io_u->xfer_buf,
		.operation = operation_of(io_u->ddir), .nsid = geometry->nsid, .block_size = geometry->block_size,
	};
	uint32_t answer;

	fio_ro_check(td, io_u);
	io_u->engine_data = NULL;
	if (state->queued_count == state->depth)
		return FIO_Q_BUSY;
	answer = corelane_fio_submit(state->job, &io);
	if (answer == BUSY)
		return FIO_Q_BUSY;
	if (answer != TAKEN) {
		io_u->error = corelane_fio_errno(answer);
		return FIO_Q_COMPLETED;
	}
	state->queued[state->queued_count++] = io_u;
	return FIO_Q_QUEUED;
}

static int engine_commit(struct thread_data *td)
{
	struct state *state = td->io_ops_data;
	struct timespec now;
	unsigned int i;

	if (!state->queued_count)
		return 0;
	fio_gettime(&now, NULL);
	for (i = 0; i < state->queued_count; i++) {
		memcpy(&state->queued[i]->issue_time, &now, sizeof(now));
		io_u_queued(td, state->queued[i]);
	}
	io_u_mark_submit(td, state->queued_count);
	state->queued_count = 0;
	corelane_fio_commit(state->job);
	return 0;
}

static int engine_getevents(struct thread_data *td, unsigned int min, unsigned int max, const struct timespec *t)
{
	struct state *state = td->io_ops_data;
	int64_t limit_ns = t ? (int64_t) t->tv_sec * 1000000000 + t->tv_nsec : -1;

	/* Polling sends, too: what it sends is to have been committed. */
	engine_commit(td);
	if (max > state->depth)
		max = state->depth;
	return corelane_fio_poll(state->job, min, max, state->events, limit_ns);
}

static struct io_u *engine_event(struct thread_data *td, int index)
{
	struct state *state = td->io_ops_data;
	struct corelane_event *event = &state->events[index];
	struct io_u *io_u = (struct io_u *) (uintptr_t) event->tag;

	io_u->error = event->error;
	io_u->engine_data = event;
	return io_u;
}

/* The caller frees it. */
static char *engine_errdetails(struct io_u *io_u)
{
	struct corelane_event *event = io_u->engine_data;
	size_t room = 160;
	char *text = calloc(1, room);

	if (text && event)
		corelane_fio_explain(event->failure, text, room);
	return text;
}

static int engine_open_file(struct thread_data *td, struct fio_file *f)
{
	(void) td;
	(void) f;
	return 0;
}

static int engine_close_file(struct thread_data *td, struct fio_file *f)
{
	(void) td;
	(void) f;
	return 0;
}

static int engine_get_file_size(struct thread_data *td, struct fio_file *f)
{
	(void) td;
	/* Setup has found it out. */
	return !FILE_ENG_DATA(f);
}

static struct ioengine_ops operations = {
	.name = "corelane",
	.version = FIO_IOOPS_VERSION,
	.flags = FIO_RAWIO | FIO_DISKLESSIO | FIO_NOEXTEND | FIO_NODISKUTIL | FIO_MEMALIGN
#if FIO_IOOPS_VERSION >= 31
		| FIO_ASYNCIO_SETS_ISSUE_TIME
#endif
		,
	.setup = engine_setup,
	.init = engine_init,
	.post_init = engine_post_init,
	.queue = engine_queue,
	.commit = engine_commit,
	.getevents = engine_getevents,
	.event = engine_event,
	.errdetails = engine_errdetails,
	.cleanup = engine_cleanup,
	.open_file = engine_open_file,
	.close_file = engine_close_file,
	.get_file_size = engine_get_file_size,
	.iomem_alloc = engine_iomem_alloc,
	.iomem_free = engine_iomem_free,
	.option_struct_size = sizeof(struct options),
	.options = options,
};

/*
 * The table, or NULL for another fio than the one whose headers this was compiled with. fio compares the version of the
 * table; structures that change without it would do harm that nobody finds, so the version of the program counts.
 */
struct ioengine_ops *corelane_fio_operations(void)
{
	const char *version = dlsym(RTLD_DEFAULT, "fio_version_string");

	if (version && !strcmp(version, CORELANE_FIO_VERSION))
		return &operations;
	log_err("fio: corelane: this engine was built for %s, and this is %s: build it anew with benches/fio/build\n",
		CORELANE_FIO_VERSION, version ? version : "an unknown version");
	/* Leaves a reason for fio, which looks for one. */
	dlsym(RTLD_DEFAULT, "an ioengine for this version of fio");
	return NULL;
}
