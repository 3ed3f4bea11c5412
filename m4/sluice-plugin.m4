# SPDX-License-Identifier: Apache-2.0
# SLUICE_PLUGIN(KIND, NAME, WHAT, [PKG-CONFIG MODULES])
# One switch, one conditional and one line of the final summary for a plugin.
# --enable-KIND-NAME=auto builds it where its modules are found and says why not elsewhere; yes makes a
# missing module an error; no leaves it out.
AC_DEFUN([SLUICE_PLUGIN], [
  m4_pushdef([ID], m4_translit([$1_$2], [-a-z], [_A-Z]))
  AC_ARG_ENABLE([$1-$2],
    [AS_HELP_STRING([--enable-$1-$2], [$3 @<:@auto@:>@])], [], [enable_$1_$2=auto])
  AS_IF([test "x$enable_$1_$2" = xno],
    [sluice_on=no; sluice_why="switched off"],
    [m4_ifval([$4],
      [PKG_CHECK_MODULES(ID, [$4], [sluice_on=yes; sluice_why="$4"],
        [AS_IF([test "x$enable_$1_$2" = xyes],
          [AC_MSG_ERROR([$1/$2 was asked for, but pkg-config does not find: $4])])
         sluice_on=no; sluice_why="pkg-config does not find: $4"])],
      [sluice_on=yes; sluice_why="needs nothing more"])])
  AM_CONDITIONAL([ENABLE_]ID, [test "x$sluice_on" = xyes])
  AS_VAR_APPEND([sluice_summary], ["    $1/$2: $sluice_on ($sluice_why)
"])
  m4_popdef([ID])
])
