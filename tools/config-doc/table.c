// SPDX-License-Identifier: GPL-2.0
/*
 * Prints the permission table of config space, vfio_caps.c, as the second half of
 * Documentation/config-space.rst.
 */
#include <stdio.h>
#include <string.h>

#define UVFIO_CAPS_DOC
#include "../../vfio_caps.c"

/* Simple tables: cells to the widest of their column */

#define MAX_COLUMNS	7
#define MAX_LINES	24
#define MAX_CELL	48

struct table {
	unsigned int columns, lines;
	char cells[MAX_LINES][MAX_COLUMNS][MAX_CELL];
};

static void table_begin(struct table *table, unsigned int columns,
			const char *const *names)
{
	unsigned int i;

	memset(table, 0, sizeof(*table));
	table->columns = columns;
	table->lines = 1;
	for (i = 0; i < columns; i++)
		snprintf(table->cells[0][i], MAX_CELL, "%s", names[i]);
}

static unsigned int column_width(const struct table *table, unsigned int column)
{
	unsigned int width = 0, i;

	for (i = 0; i < table->lines; i++) {
		unsigned int len = strlen(table->cells[i][column]);

		width = len > width ? len : width;
	}
	return width;
}

static void table_rule(const struct table *table)
{
	unsigned int i, width;

	for (i = 0; i < table->columns; i++) {
		for (width = column_width(table, i); width; width--)
			putchar('=');
		printf("%s", i + 1 < table->columns ? "  " : "\n");
	}
}

static void table_end(const struct table *table)
{
	unsigned int line, i;

	table_rule(table);
	for (line = 0; line < table->lines; line++) {
		for (i = 0; i + 1 < table->columns; i++)
			printf("%-*s  ", column_width(table, i),
			       table->cells[line][i]);
		printf("%s\n", table->cells[line][i]);
		if (!line)
			table_rule(table);
	}
	table_rule(table);
	putchar('\n');
}

static void heading(const char *text, char underline)
{
	size_t len = strlen(text);

	printf("%s\n", text);
	while (len--)
		putchar(underline);
	printf("\n\n");
}

/* Registers */

static u32 row_bytes(const struct cap_row *row, u32 end)
{
	return row->len ? row->len : end - row->off;
}

/* What a write has the kernel do: also to reset, which leaves no bit behind. */
static u32 kernel_bits(const struct cap_row *row)
{
	struct uvfio_reg reg = { .fn = row->fn };
	u32 shift = row->off % 4 * 8;
	u32 bits = uvfio_reg_effect(&reg) >> shift;

	if (row->fn == UVFIO_REG_DEVCTL)
		bits |= PCI_EXP_DEVCTL_BCR_FLR;
	if (row->fn == UVFIO_REG_AF)
		bits |= PCI_AF_CTRL_FLR;
	return row->fn == UVFIO_REG_VPD_DATA ? 0 : bits;
}

static void mask_cell(char *cell, u32 mask, u32 bytes)
{
	u32 all = bytes < 4 ? ALL >> (32 - 8 * bytes) : ALL;

	mask &= all;
	if (!mask)
		snprintf(cell, MAX_CELL, "-");
	else if (mask == all)
		snprintf(cell, MAX_CELL, "all");
	else
		snprintf(cell, MAX_CELL, "%0*x", bytes < 4 ? 2 * bytes : 8,
			 mask);
}

static bool is_address(const struct cap_row *rows, const struct cap_row *row)
{
	return rows == header_rows && (row->off == PCI_BASE_ADDRESS_0 ||
				       row->off == PCI_ROM_ADDRESS);
}

static void print_masks(const struct cap_row *rows, u32 end)
{
	static const char *const names[] = {
		"offset", "register", "hardware", "remembered", "written",
		"1 clears", "the kernel",
	};
	const struct cap_row *row;
	struct table table;

	table_begin(&table, ARRAY_SIZE(names), names);
	for (row = rows; row->off || row->len; row++) {
		char (*cells)[MAX_CELL] = table.cells[table.lines++];
		u32 bytes = row_bytes(row, end);

		snprintf(cells[0], MAX_CELL, "%02x", row->off);
		snprintf(cells[1], MAX_CELL, "%s", row->name);
		mask_cell(cells[2], row->read, bytes);
		mask_cell(cells[3], row->keep, bytes);
		mask_cell(cells[4], row->write, bytes);
		mask_cell(cells[5], row->w1c, bytes);
		mask_cell(cells[6], kernel_bits(row), bytes);
		/* The size of a BAR is that of a device. */
		if (is_address(rows, row))
			snprintf(cells[3], MAX_CELL, "address");
	}
	table_end(&table);
}

static void print_reasons(const struct cap_row *row)
{
	for (; row->off || row->len; row++) {
		unsigned int i;

		printf("%s\n", row->name);
		for (i = 0; i < ARRAY_SIZE(row->why) && row->why[i]; i++)
			printf("    * %s\n", row->why[i]);
		if (row->lock)
			printf("    * no permit\n");
	}
	putchar('\n');
}

/* Capabilities */

static void print_cap(const struct cap *cap)
{
	char text[80];
	unsigned int i;

	snprintf(text, sizeof(text), "%s (%02x)", cap->name, cap->id);
	heading(text, '-');
	for (i = 0; i < ARRAY_SIZE(cap->why) && cap->why[i]; i++)
		printf("* %s\n", cap->why[i]);
	if (cap->lock)
		printf("* no permit\n");
	if (cap->lock || cap->why[0])
		putchar('\n');
	print_masks(cap->rows, cap->len);
	print_reasons(cap->rows);
}

/* Those that one line is enough for */
static void print_others(const struct cap *caps, size_t count, bool hidden)
{
	size_t i;

	for (i = 0; i < count; i++) {
		const struct cap *cap = &caps[i];

		if (cap->hidden != hidden || cap->rows)
			continue;
		printf("%s (%02x)\n    %s%s\n", cap->name, cap->id, cap->why[0],
		       cap->lock ? "; no permit" : "");
	}
	putchar('\n');
}

static void print_caps(const char *title, const struct cap *caps, size_t count)
{
	size_t i;

	heading(title, '=');
	for (i = 0; i < count; i++)
		if (caps[i].rows)
			print_cap(&caps[i]);

	heading("Read-only", '-');
	print_others(caps, count, false);
	heading("Hidden", '-');
	printf("So is every one that is not named here.\n\n");
	print_others(caps, count, true);
}

int main(void)
{
	heading("The header", '=');
	print_masks(header_rows, PCI_STD_HEADER_SIZEOF);
	print_reasons(header_rows);
	print_caps("Capabilities", std_caps, ARRAY_SIZE(std_caps));
	print_caps("Extended capabilities", ext_caps, ARRAY_SIZE(ext_caps));
	return 0;
}
